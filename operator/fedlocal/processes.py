"""Starts and ends processes: plain ones, and trainers forked from a process that has torch loaded already.

Used by kubelet.py through the Launcher port. No process outlives the runner: each watches a pipe that only the
runner holds (child.py).
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from fedlocal import child, interpreter
from fedlocal.fork_client import ForkServer, ForkServerLostError

MOST_LOSSES = 3  # of fork servers in one run: then trainers are started plainly
SHARED_TRAINER = "fedlocal.shared_trainer"  # the program that serves several sites
DP_SGD = ("fedtrainer.training.dpsgd.private", "fedtrainer.training.dpsgd.steps")  # for jobs with it: they load Opacus
ENV_FORK = "FEDLOOM_LOCAL_FORK"  # "0": every trainer loads torch itself, as on a cluster

# A library reads these when it is loaded, so a process that wants other values than the runner's is not forked.
_READ_AT_IMPORT = (
    "OMP_", "MKL_", "KMP_", "OPENBLAS_", "TORCH", "PYTORCH_", "CUDA_", "NCCL_", "LD_", "DYLD_", "ATEN_", "PJRT_", "XLA_",
)  # fmt: skip


@dataclass(frozen=True)
class Command:
    """`python -m module arguments` with everything that the process sees."""

    module: str
    arguments: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    log: Path
    isolated: bool = False  # of the hub: nothing in the environment or the working folder changes what it imports


class Process(Protocol):
    """Port: what was started, a process of its own or a site that shares one."""

    def terminate(self) -> None:
        """Asks it to end, not what it started: as a kubelet does, it leaves that to the process."""

    def kill(self) -> None:
        """Ends it and what it started; nothing when all are gone."""

    async def wait(self) -> int:
        """Its exit code; negative: the signal that ended it."""


class _Waitable(Protocol):
    @property
    def pid(self) -> int: ...
    async def wait(self) -> int: ...


@dataclass(frozen=True)
class OwnProcess:
    """A process that leads its own group."""

    started: _Waitable

    @property
    def pid(self) -> int:
        """Its process id, which is its group too."""
        return self.started.pid

    async def wait(self) -> int:
        """Its exit code; negative: the signal that ended it."""
        return await self.started.wait()

    def terminate(self) -> None:
        """SIGTERM to the process alone."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to its group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)


class Launcher(Protocol):
    """Port: starts processes."""

    async def start(self, command: Command) -> Process:
        """Starts one."""

    async def close(self) -> None:
        """Ends whatever is kept for later starts."""


def _own_path() -> str:
    """The runner's own search path, without the folder that it was started in: product and libraries are there."""
    here = str(Path.cwd())
    return os.pathsep.join(str(Path(path).absolute()) for path in sys.path if path not in ("", here))


@dataclass
class PlainLauncher:
    """Every program in an interpreter of its own."""

    _watch: tuple[int, int] = field(default_factory=os.pipe)

    @property
    def watched(self) -> int:
        """The read end that children watch; they inherit it, never the write end."""
        return self._watch[0]

    async def start(self, command: Command) -> OwnProcess:
        """Starts child.py, which runs the module."""
        how = ("-I", "-u", child.__file__) if command.isolated else ("-P", "-m", "fedlocal.child")
        process = await interpreter.started(
            (*how, str(self.watched), _own_path(), command.module, *command.arguments),
            command.env, command.log, (self.watched,), command.cwd,
        )  # fmt: skip
        return OwnProcess(process)

    async def close(self) -> None:
        """Lets go of the pipe: whatever still runs ends."""
        for descriptor in self._watch:
            with contextlib.suppress(OSError):
                os.close(descriptor)


@dataclass
class ForkingLauncher:
    """Forks `modules` from a process with torch loaded; everything else, and whatever cannot be forked, is plain.

    A fork server that is lost is started anew; after MOST_LOSSES of them no more is forked.
    """

    plain: PlainLauncher
    modules: frozenset[str]
    _begin: "Callable[[], Awaitable[ForkServer]] | None" = None
    _server: "asyncio.Task[ForkServer] | None" = None
    _losses: int = 0

    def warm(self, env: Mapping[str, str], log: Path, modules: Sequence[str] = ()) -> None:
        """Starts the fork server: it loads torch while the runner does other things, and later these modules."""
        self._begin = lambda: ForkServer.started(self.plain.watched, env, log, modules)
        self._server = asyncio.ensure_future(self._begin())

    async def start(self, command: Command) -> OwnProcess:
        """Forks the process, or starts a plain one."""
        while self._forkable(command) and (server := await self._alive()):
            command.log.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(ForkServerLostError):
                fork = await server.fork(
                    {"module": command.module, "args": list(command.arguments), "env": dict(command.env),
                     "cwd": str(command.cwd), "log": str(command.log.absolute())}
                )  # fmt: skip
                return OwnProcess(fork)
        return await self.plain.start(command)

    async def _alive(self) -> ForkServer | None:
        """The fork server; a new one where it was lost, None where that happens again and again."""
        while (starting := self._server) and self._begin:
            server = None
            with contextlib.suppress(OSError):
                server = await asyncio.shield(starting)
            if server and not server.lost:
                return server
            if self._server is starting:  # the first who notices starts the next
                self._losses += 1
                self._server = asyncio.ensure_future(self._begin()) if self._losses < MOST_LOSSES else None
        return None

    async def close(self) -> None:
        """Ends the fork server."""
        if self._server:
            with contextlib.suppress(OSError):
                await (await self._server).close()
        await self.plain.close()

    def _forkable(self, command: Command) -> bool:
        return command.module in self.modules and libraries_alike(command.env)


def libraries_alike(env: Mapping[str, str]) -> bool:
    """Whether libraries that the runner's environment was good for when they were loaded will do for this one."""
    return all(
        env.get(name) == os.environ.get(name) for name in {*env, *os.environ} if name.startswith(_READ_AT_IMPORT)
    )


def launcher() -> PlainLauncher | ForkingLauncher:
    """Forking where forking with loaded libraries is safe (Linux) and not switched off, plain elsewhere."""
    plain = PlainLauncher()
    forking = sys.platform == "linux" and os.environ.get(ENV_FORK, "1") != "0"
    return ForkingLauncher(plain, frozenset({"fedtrainer", SHARED_TRAINER})) if forking else plain
