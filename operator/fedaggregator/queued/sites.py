"""The conversation with sites over queues: requests from the job's one queue, answers into each site's own.

A question for work is settled at once and held here; everything else is settled when its answer is durable. What is
lost with this process is asked again: it tells every site when it begins. What is no site's of this job is dropped and counted.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from fedaggregator import accesslog, metrics
from fedaggregator.accesslog import Call
from fedaggregator.engine.engine import Engine
from fedaggregator.errors import FatalError, RequestRefusedError
from fedaggregator.publisher import Publisher
from fedaggregator.queued.sessions import Sessions, Verdict
from fedaggregator.requests.parsing import parsed
from fedaggregator.requests.sites import SiteRequests
from fedapi.wire import broker, statuses
from fedapi.wire.download import Download
from fedapi.wire.entrusted import EntrustRequest, RecallRequest
from fedapi.wire.message import Message
from fedapi.wire.queued import QueuedAnswer, QueuedRequest
from fedapi.wire.site import Assignment, EvaluationReport, FailureReport, NextRequest, Refusal, UploadRequest
from fedapi.wire.tokens import site_token
from fedapi.wire.update import HandedUpdate
from fedcore.rounds.state import Phase
from fedqueue import sealing
from fedqueue.errors import MessageTooLargeError, QueueMissingError, QueueUnavailableError
from fedqueue.port import Delivery, Queues
from fedqueue.sealing import ForgedError, Seal

log = logging.getLogger(__name__)
# Of a model or an update in a message: sealed, and in base64 twice, it fits into every queue.
MOST_INLINE_BYTES = 128 << 10
_POLL_S = 20.0  # that one question to the broker is held
_PAUSE_S = 1.0  # between looks at the roster, and after a failure that the broker tells at once
_AT_ONCE = 64  # requests that are dealt with, questions that are held not among them
_MAKING = 16  # queues that are made, or told of the beginning, at once
_ANSWER_S = 60.0  # that an answer is tried for; the site asks again then
_REMOVING_S = 20.0  # that a job which is over tries to delete its queues: a pod of a deleted one is killed after 30 s


class _Asked(NamedTuple):
    """A request whose sender is proven."""

    client: str
    nonce: str
    path: str
    body: str


class QueuedSites:
    """All sites of one job."""

    def __init__(
        self, engine: Engine, publisher: Publisher, requests: SiteRequests, queues: Queues, prefix: str, job_key: bytes
    ) -> None:
        self._engine, self._publisher, self._requests, self._queues = engine, publisher, requests, queues
        self._uid, self._prefix, self._job_key = engine.state.config.uid, prefix, job_key
        self._inbound = broker.hub_queue(prefix, self._uid)
        self._sessions = Sessions(secrets.token_bytes(32))
        self._made: set[str] = set()  # sites whose queues are there
        self._inbound_made = False
        self._held: dict[str, asyncio.Future[None]] = {}  # by site: ends the question that is held
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._takes: Mapping[str, tuple[type[Message], Callable[[str, Any], Awaitable[Message]]]] = {
            "uploads": (UploadRequest, requests.upload),
            "updates": (HandedUpdate, requests.update),
            "evaluations": (EvaluationReport, requests.evaluation),
            "failures": (FailureReport, requests.failure),
            "entrust": (EntrustRequest, requests.entrust),
            "recall": (RecallRequest, requests.recall),
        }

    async def run(self) -> None:
        """Until it is cancelled. A broker that does not answer is asked again, and told in the status meanwhile."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._receive())
                group.create_task(self._keep_queues())
        finally:
            for task in self._tasks:
                task.cancel()

    async def close(self, *, deleted: bool = False) -> None:
        """Hangs up. The queues of a job that is over, or was deleted, go with it, unless the broker is away."""
        if deleted or self._engine.state.phase is Phase.FINISHED:
            try:
                async with asyncio.timeout(_REMOVING_S):
                    await self._remove_queues()
            except TimeoutError:
                log.warning("queues of the job are left: delete them", extra={"fields": {"first": self._inbound}})
        await self._queues.close()

    async def _receive(self) -> None:
        while True:
            try:
                deliveries = await self._queues.receive(self._inbound, _POLL_S)
            except QueueUnavailableError as error:
                self._inbound_made &= not isinstance(error, QueueMissingError)
                self._failed("requests", error)
                await asyncio.sleep(_PAUSE_S)
                continue
            self._publisher.queues_troubled("requests", "")
            for delivery in deliveries:
                await self._turns.acquire()
                self._spawn(self._dealt_with(delivery))

    async def _keep_queues(self) -> None:
        """Makes the queues of sites that are new, and tells each that whatever waits for an answer is to be asked again."""
        while True:
            try:
                if not self._inbound_made:
                    await self._queues.make(self._inbound)
                    self._inbound_made = True
                missing: QueueMissingError | None = None
                new = [name for name in self._engine.state.roster.by_name if name not in self._made]
                for first in range(0, len(new), _MAKING):
                    found = await asyncio.gather(*map(self._begin, new[first : first + _MAKING]))
                    missing = missing or next(filter(None, found), None)
                if missing is not None:
                    raise missing
                self._publisher.queues_troubled("queues", "")
            except QueueUnavailableError as error:
                self._failed("queues", error)
            await asyncio.sleep(_PAUSE_S)

    async def _begin(self, client: str) -> QueueMissingError | None:
        """What is wrong with this site's queue alone: the others are made all the same."""
        try:
            await self._queues.make(self._queue(client))
            await self._sent(client, QueuedAnswer(kind="Restarted"))
        except QueueMissingError as error:
            return error
        self._made.add(client)
        return None

    async def _remove_queues(self) -> None:
        sites = self._made.union(self._engine.state.roster.by_name)  # an earlier life has made those of others
        names = [self._inbound, *map(self._queue, sites)]
        for first in range(0, len(names), _MAKING):
            await asyncio.gather(*map(self._queues.remove, names[first : first + _MAKING]), return_exceptions=True)

    async def _dealt_with(self, delivery: Delivery) -> None:
        try:
            asked = await self._proven(delivery.body)
            if asked is None:
                await self._settled(delivery)
            elif asked.path == "next":
                await self._settled(delivery)
                self._spawn(self._next(asked))
            else:
                await self._answered(asked, self._taken(asked))
                await self._settled(delivery)
        finally:
            self._turns.release()

    async def _proven(self, body: str) -> _Asked | None:
        """The request in a message. None: it is none, or was taken, or its site has to ask in another session."""
        metrics.QUEUE_MESSAGES.labels("in").inc()
        try:
            envelope = sealing.envelope(body)
            client = envelope.client
            request = QueuedRequest.model_validate_json(self._seal(client).opened("to hub", envelope))
        except (ForgedError, ValidationError) as error:
            reason = str(error) if isinstance(error, ForgedError) else f"no request: {error.error_count()} faults"
            metrics.QUEUE_DROPPED.labels("Forged").inc()
            await self._requests.refused("", Refusal(code="Unauthorized", message=f"in the queue: {reason}"))
            accesslog.write(Call("Queue", "", "", "", outcome="Unauthorized", bytes_in=len(body)))
            return None
        verdict = self._sessions.verdict(client, request.session, request.number)
        if verdict is Verdict.FRESH:
            return _Asked(client, envelope.nonce, request.path, request.body)
        if verdict is Verdict.UNKNOWN:
            session = self._sessions.offered(client)
            await self._tried(client, QueuedAnswer(kind="Session", to=envelope.nonce, session=session))
        else:
            metrics.QUEUE_DROPPED.labels("Replayed").inc()
            accesslog.write(_call(_Asked(client, envelope.nonce, request.path, request.body), outcome="Replayed"))
        return None

    async def _next(self, asked: _Asked) -> None:
        """Held until there is something; a later question of the same site ends it without an answer."""
        gone = asyncio.get_running_loop().create_future()
        before, self._held[asked.client] = self._held.get(asked.client), gone
        if before is not None and not before.done():
            before.set_result(None)
        try:
            await self._answered(asked, self._assigned(asked, gone), gone)
        finally:
            if self._held.get(asked.client) is gone:
                del self._held[asked.client]

    async def _assigned(self, asked: _Asked, gone: "asyncio.Future[None]") -> Message:
        await self._requests.admit(asked.client, "")
        assigned = await self._requests.next(asked.client, parsed(asked.body.encode(), NextRequest), gone)
        accesslog.concerns(assigned.train or assigned.evaluate)
        return fitting(assigned)

    async def _taken(self, asked: _Asked) -> Message:
        model, take = self._takes[asked.path]
        await self._requests.admit(asked.client, "")
        await self._requests.heard(asked.client)
        try:
            message = parsed(asked.body.encode(), model)
        except RequestRefusedError as error:
            await self._requests.refused(asked.client, error.refusal)
            raise
        accesslog.concerns(message)
        return await take(asked.client, message)

    async def _answered(
        self, asked: _Asked, work: Awaitable[Message], gone: "asyncio.Future[None] | None" = None
    ) -> None:
        try:
            with accesslog.call(_call(asked)) as call:
                answer = await self._answer(asked, work)
                call.status, call.bytes_out = answer.status, len(answer.body)
        except FatalError:
            return  # the process ends: the site is told when the next begins
        if gone is None or not gone.done():
            await self._tried(asked.client, answer)

    async def _answer(self, asked: _Asked, work: Awaitable[Message]) -> QueuedAnswer:
        try:
            return QueuedAnswer(to=asked.nonce, body=(await work).model_dump_json())
        except RequestRefusedError as error:
            accesslog.note(outcome=error.refusal.code)
            status, body = statuses.STATUS[error.refusal.code], error.refusal.model_dump_json()
            return QueuedAnswer(to=asked.nonce, status=status, body=body)

    async def _tried(self, client: str, answer: QueuedAnswer) -> None:
        """As long as its site waits for it."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _ANSWER_S
        while True:
            try:
                return await self._sent(client, answer)
            except MessageTooLargeError as error:
                log.warning("answer is too large", extra={"fields": {"site": client, "reason": str(error)}})
                return None
            except QueueUnavailableError as error:
                if loop.time() > until or (isinstance(error, QueueMissingError) and client not in self._made):
                    return None
                metrics.QUEUE_FAILURES.inc()
                await asyncio.sleep(_PAUSE_S)

    async def _sent(self, client: str, answer: QueuedAnswer) -> None:
        envelope = self._seal(client).sealed("to site", answer.model_dump_json().encode())
        await self._queues.send(self._queue(client), envelope.model_dump_json())
        metrics.QUEUE_MESSAGES.labels("out").inc()

    async def _settled(self, delivery: Delivery) -> None:
        try:
            await self._queues.settle(delivery)
        except QueueUnavailableError:  # it comes again, and is known
            metrics.QUEUE_FAILURES.inc()

    def _failed(self, what: str, error: QueueUnavailableError) -> None:
        metrics.QUEUE_FAILURES.inc()
        self._publisher.queues_troubled(
            what, f"the job's queues do not work, sites are served over HTTPS alone: {error}"
        )

    def _queue(self, client: str) -> str:
        return broker.site_queue(self._prefix, self._uid, client)

    def _seal(self, client: str) -> Seal:
        return Seal(site_token(self._job_key, client), self._uid, client)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a message of the queue", exc_info=error)


def _call(asked: _Asked, outcome: str = "") -> Call:
    """As the access log has it: its seal proves the site."""
    made = Call("Queue", "", "", "", asked.path, asked.client, "Seal", outcome=outcome)
    made.bytes_in = len(asked.body)
    return made


def fitting(assigned: Assignment) -> Assignment:
    """The same, with no more in it than a queue takes: a larger model has its URL, a larger update is announced."""
    train, evaluate = assigned.train, assigned.evaluate
    if train is not None:
        inline = train.inline
        if inline is not None and inline.max_bytes > MOST_INLINE_BYTES:
            inline = inline.model_copy(update={"max_bytes": MOST_INLINE_BYTES})
        train = train.model_copy(update={"model": _fitting(train.model), "inline": inline})
    if evaluate is not None:
        evaluate = evaluate.model_copy(update={"model": _fitting(evaluate.model)})
    return assigned.model_copy(update={"train": train, "evaluate": evaluate})


def _fitting(model: Download) -> Download:
    too_large = model.content is not None and len(model.content) > MOST_INLINE_BYTES
    return model.model_copy(update={"content": None}) if too_large else model
