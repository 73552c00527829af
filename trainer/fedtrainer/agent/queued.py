"""A site's small messages by queue: sealed, sent into the job's one queue, answered in the site's own. Made by work.py.

The queue is spoken to by an event loop on a thread of its own, for as long as the process lives. Questions wait for their
answers by the nonces of their envelopes; what answers nothing that waits here is dropped. When the hub offers a session,
or says that it began anew, everything that waits is asked again in it.
"""

import asyncio
import itertools
import logging
import threading
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import get_args

from pydantic import SecretStr, ValidationError

from fedapi import names
from fedapi.jsonlog import Budget
from fedapi.wire import broker
from fedapi.wire.queued import HELD_S, Path, QueuedAnswer, QueuedRequest
from fedqueue import sealing
from fedqueue.errors import MessageTooLargeError, QueueError, QueueUnavailableError, UnknownQueuesError
from fedqueue.opening import open_queues, parsed
from fedqueue.sealing import ForgedError, Seal
from fedtrainer.agent.patience import RetryError, SupersededError
from fedtrainer.errors import BadSettingsError
from fedtrainer.settings import TrainerSettings

dropped = logging.getLogger(f"{__name__}.dropped")  # who may write into the queue writes no more of this log than this
dropped.addFilter(Budget(burst=20.0, per_s=1 / 60))
NEXT = "next"
RECEIVED_S = 20.0  # that one question to the broker is held
PAUSE_S = 1.0  # after a failure that the broker tells at once
SILENT_S = 15.0  # that the broker may be away before what waits is asked another way
CLOSE_S = 5.0
AGAIN_S = 2.0  # between two times that all is asked again
_PATHS: dict[str, Path] = {path: path for path in get_args(Path)}


@dataclass(eq=False)
class _Waiting:
    """A question, and what it was sent as: nonces of envelopes, each with the session that it was asked in."""

    path: Path
    body: str
    answer: "Future[tuple[int, bytes]]" = field(default_factory=Future)
    sent: dict[str, str] = field(default_factory=dict)

    def fail(self, error: RetryError) -> None:
        """Its caller may ask another way."""
        if not self.answer.done():
            self.answer.set_exception(error)


class QueuedTransport:
    """One site's conversation with its hub."""

    def __init__(self, settings: TrainerSettings, token: SecretStr) -> None:
        try:
            place = parsed(settings.queues)
            self._queues = open_queues(place, settings.queues_credentials_dir)
        except UnknownQueuesError as error:
            raise BadSettingsError(f"{names.ENV_QUEUES}: {error}") from error
        self._seal = Seal(token.get_secret_value(), settings.job_uid, settings.client)
        self._hub = broker.hub_queue(place.prefix, settings.job_uid)
        self._own = broker.site_queue(place.prefix, settings.job_uid, settings.client)
        self._waiting: set[_Waiting] = set()
        self._session, self._numbers = "", itertools.count(1)
        self._again_at = 0.0
        self._asking_again: asyncio.Task[None] | None = None  # until it begins to
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="queues", daemon=True)
        self._thread.start()
        self._receiving = asyncio.run_coroutine_threadsafe(self._receive(), self._loop)

    def post(self, path: str, body: bytes, answer_s: float) -> tuple[int, bytes]:
        """A later question for work takes the place of the one before, which ends with SupersededError."""
        waiting = _Waiting(_PATHS[path], body.decode())
        asyncio.run_coroutine_threadsafe(self._asked(waiting), self._loop)
        try:
            return waiting.answer.result(answer_s)
        except TimeoutError as error:
            raise RetryError(f"no answer to {path} for {answer_s:.0f} s") from error
        finally:
            self._loop.call_soon_threadsafe(self._waiting.discard, waiting)

    def held_s(self, wait_s: float) -> float:
        """Orders are pushed: a question is as long as a sign of life may take. One that is not to be held is not."""
        return HELD_S if wait_s else 0.0

    def close(self) -> None:
        """Hangs up, and ends the thread."""
        self._receiving.cancel()
        with suppress(QueueError, TimeoutError):
            asyncio.run_coroutine_threadsafe(self._queues.close(), self._loop).result(CLOSE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CLOSE_S)

    # On the loop.

    def _run(self) -> None:
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(self._hung_up())
        finally:
            self._loop.close()

    async def _hung_up(self) -> None:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _asked(self, waiting: _Waiting) -> None:
        for other in self._waiting:
            if other.path == waiting.path == NEXT:
                other.fail(SupersededError("another question for work was asked"))
        self._waiting.add(waiting)
        await self._send(waiting)

    async def _send(self, waiting: _Waiting) -> None:
        request = QueuedRequest(session=self._session, number=next(self._numbers), path=waiting.path, body=waiting.body)
        envelope = self._seal.sealed("to hub", request.model_dump_json().encode())
        waiting.sent[envelope.nonce] = request.session
        try:
            await self._queues.send(self._hub, envelope.model_dump_json())
        except (MessageTooLargeError, QueueUnavailableError) as error:
            waiting.fail(RetryError(str(error)))

    async def _receive(self) -> None:
        down_since = 0.0
        while True:
            try:
                deliveries = await self._queues.receive(self._own, RECEIVED_S)
            except QueueUnavailableError as error:
                now = self._loop.time()
                down_since = down_since or now
                if now - down_since > SILENT_S:
                    self._fail_all(str(error))
                await asyncio.sleep(PAUSE_S)
                continue
            down_since = 0.0
            for delivery in deliveries:
                await self._taken(delivery.body)
                with suppress(QueueUnavailableError):  # delivered again, it answers nothing
                    await self._queues.settle(delivery)

    async def _taken(self, body: str) -> None:
        try:
            answer = QueuedAnswer.told(self._seal.opened("to site", sealing.envelope(body)))
        except (ForgedError, ValidationError) as error:
            dropped.warning("a message of the queue is dropped: %s", type(error).__name__)
            return
        waiting = next((each for each in self._waiting if answer.to in each.sent), None)
        if answer.kind == "Restarted":
            self._ask_again()
        elif waiting is None:
            return
        elif answer.kind == "Answer":
            if not waiting.answer.done():
                waiting.answer.set_result((answer.status, answer.body.encode()))
        elif waiting.sent[answer.to] == self._session:  # else it has been asked again in a newer one
            self._session, self._numbers, self._again_at = answer.session, itertools.count(1), 0.0
            if self._asking_again is not None:
                self._asking_again.cancel()
                self._asking_again = None
            self._ask_again()

    def _ask_again(self) -> None:
        """Everything that waits. Not in a hot loop: who may write into the queue may repeat what makes us do so."""
        if self._asking_again is None:
            self._asking_again = self._loop.create_task(self._asked_again())

    async def _asked_again(self) -> None:
        await asyncio.sleep(self._again_at - self._loop.time())
        self._asking_again, self._again_at = None, self._loop.time() + AGAIN_S
        for waiting in tuple(self._waiting):
            await self._send(waiting)

    def _fail_all(self, why: str) -> None:
        for waiting in self._waiting:
            waiting.fail(RetryError(why))
