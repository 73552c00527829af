"""Sites that share trainers: a pod of such a site is a question for work, and a process only while it has an order.

The Launcher of a run whose sites outnumber what fits in memory (made by runner.py, used by kubelet.py). To its callers
a site that shares is a process like others: it ends with an exit code, leaves a reason, and can be told to end.
"""

import asyncio
import contextlib
import logging
import signal
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fedapi import jsonlog, names
from fedapi.outcome import reason
from fedlocal.processes import Command, Launcher, Process, libraries_alike
from fedlocal.questions import Questions, order_of
from fedlocal.trainer_pool import NotStartedError, Outcome, Trainer, TrainerPool
from fedtrainer.agent.patience import pause_s
from fedtrainer.errors import BadSettingsError, StopError
from fedtrainer.settings import ENV_PATIENCE_S, ENV_POLL_S, TrainerSettings

HANDSHAKES = 16  # at once: the aggregator gives up connections beyond its limit of those that show no token yet
FRESH_S = 60.0  # age of an answer that is acted on
NO_ORDER = ("Wait", "Drop")
ENDED = 128 + signal.SIGTERM
_ERROR = {"name": "fedtrainer", "levelname": "ERROR", "levelno": logging.ERROR}


def can_share(env: Mapping[str, str]) -> bool:
    """Whether a site's training pod can be served by a process that serves others: one rank, and libraries as loaded."""
    ranks = int(env.get(names.ENV_RING_WORKERS, "1")) * int(env.get(names.ENV_RING_SLOTS, "1"))
    return ranks == 1 and env.get(names.ENV_ACCELERATOR) != "TPU" and libraries_alike(env)


@dataclass(eq=False)
class SharedSite:
    """One site, as a process to its callers."""

    command: Command
    questions: Questions
    pool: TrainerPool
    _trainer: Trainer | None = None
    _ending: bool = False

    def __post_init__(self) -> None:
        self._living = asyncio.create_task(self._live())

    async def wait(self) -> int:
        """Its exit code."""
        await asyncio.wait({self._living})
        return ENDED if self._living.cancelled() else self._living.result()

    def terminate(self) -> None:
        """Ends the wait, or asks the trainer that has its order to end."""
        self._ending = True
        self._trainer.terminate() if self._trainer else self._living.cancel()

    def kill(self) -> None:
        """The same, at once."""
        self._ending = True
        self._trainer.kill() if self._trainer else self._living.cancel()

    async def _live(self) -> int:
        try:
            return await self._work()
        except StopError as error:
            return self._failed(error.exit, str(error))
        except NotStartedError as error:
            return self._failed(error.code, f"a shared trainer ended before it had an order: see {self.pool.log}")
        finally:
            self.questions.close()

    async def _work(self) -> int:
        """Asks, has it done, asks again. An order that comes back came to nothing, and is not repeated in a hot loop."""
        env = self.command.env
        by_round, poll_s = env.get(names.ENV_LIFETIME) == "Round", _seconds(env, ENV_POLL_S, "poll_s")
        self.questions.patience_s = _seconds(env, ENV_PATIENCE_S, "patience_s")
        wait_s, last, repeats = 0.0, None, 0
        while True:
            answer, text = await self.questions.next(wait_s)
            if answer.kind not in NO_ORDER or (by_round and wait_s):
                repeats = repeats + 1 if order_of(answer) == last else 0
                last = order_of(answer)
                if repeats:
                    await asyncio.sleep(pause_s(repeats))
                outcome = await self._served(answer.kind, text)
                if outcome.code or outcome.finished:
                    return outcome.code
                if self._ending:
                    return ENDED
            wait_s = poll_s

    async def _served(self, kind: str, answer: str) -> Outcome:
        """Has it done, as soon as it is this site's turn. What has waited long is asked anew: its URLs end, and rounds do.

        That there is no order any more ends nothing. That there was none does, where a Job lives for a round: the trainer
        is told so, or what has come meanwhile.
        """
        command, asked_s = self.command, time.monotonic()
        order = {"env": dict(command.env), "cwd": str(command.cwd), "log": str(command.log.absolute())}
        async with self.pool.trainer() as trainer:
            if time.monotonic() - asked_s > FRESH_S:
                now, answer = await self.questions.next(0.0)
                if now.kind in NO_ORDER and kind not in NO_ORDER:
                    return Outcome()
            self._trainer = trainer
            try:
                return await trainer.serve({"answer": answer, **order})
            finally:
                self._trainer = None

    def _failed(self, code: int, message: str) -> int:
        """Leaves what a process of its own would have left: a line in the log, and the reason."""
        words = f"{reason(code)} (exit {code}): {message}"
        line = jsonlog.JsonLines().format(logging.makeLogRecord(_ERROR | {"msg": words}))
        with self.command.log.open("a") as log:
            log.write(f"{line}\n")
        with contextlib.suppress(OSError):
            Path(self.command.env[names.ENV_TERMINATION_LOG]).write_text(f"{message}\n")
        return code


@dataclass
class SharingLauncher:
    """Sites of one rank share `pool`; whatever else is started has a process of its own."""

    own: Launcher
    pool: TrainerPool
    _contexts: dict[bytes, ssl.SSLContext] = field(default_factory=dict)  # by CA
    _handshakes: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(HANDSHAKES))
    _open: bool = False

    async def start(self, command: Command) -> Process:
        """A site that shares, or a process."""
        if command.arguments != ("train",) or not can_share(command.env) or _certified(command.env):
            return await self.own.start(command)
        if not self._open:
            self._open = True
            await self.pool.open()
        command.log.parent.mkdir(parents=True, exist_ok=True)
        return SharedSite(command, self._questions(command.env), self.pool)

    async def close(self) -> None:
        """Ends the trainers, and whatever else is kept for later starts."""
        await self.pool.close()
        await self.own.close()

    def _questions(self, env: Mapping[str, str]) -> Questions:
        credentials = Path(env[names.ENV_CREDENTIALS_DIR])
        ca = (credentials / names.FILE_CA).read_bytes()
        if ca not in self._contexts:
            self._contexts[ca] = ssl.create_default_context(cadata=ca.decode())
        site, url = env[names.ENV_CLIENT], env[names.ENV_AGGREGATOR_URL]
        key = Path(folder) if (folder := env.get(names.ENV_SIGNING_KEY_DIR)) else None
        return Questions(url, site, credentials, self._contexts[ca], self._handshakes, signing_key_dir=key)


def _certified(env: Mapping[str, str]) -> bool:
    """Whether a site shows a certificate: then its connections are its own."""
    return (Path(env[names.ENV_CREDENTIALS_DIR]) / names.FILE_TLS_CERT).exists()


def _seconds(env: Mapping[str, str], name: str, field_: str) -> float:
    """A setting of the trainer's that counts for the question too."""
    value = env.get(name, str(TrainerSettings.model_fields[field_].default))
    try:
        return float(value)
    except ValueError:
        raise BadSettingsError(f"settings: {name}: is {value!r}: give seconds, as a number") from None
