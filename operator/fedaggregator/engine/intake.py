"""Takes what sites send: updates, evaluations, failure reports; records what is refused. Called by the HTTP routes.

Content is verified and records are made durable outside the engine's lock, so that sites do not wait for each other's
disk writes; what one site sends is taken one after the other. Admission is decided again under the lock, after the
write: nothing that was answered 200 can be lost, and a close that was decided meanwhile wins.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from functools import partial
from typing import TypeVar
from weakref import WeakValueDictionary

from fedaggregator import metrics, refusallog
from fedaggregator.engine import content, observed
from fedaggregator.engine.asking import Asking
from fedaggregator.engine.content import Asked
from fedaggregator.engine.engine import Engine
from fedaggregator.engine.payloads import Payloads, Sent
from fedaggregator.errors import FatalError, RequestRefusedError, SupersededError
from fedaggregator.ports import Delivery
from fedapi.wire import statement, storekey
from fedapi.wire.encryptedsum import OpenedSum
from fedapi.wire.message import ObjectRef
from fedapi.wire.secureround import SecureSaid
from fedapi.wire.site import EvaluationReport, FailureReport, Receipt, Refusal, UploadRequest
from fedapi.wire.siteevaluation import SiteEvaluationRecord
from fedapi.wire.storekey import UpdateKey
from fedapi.wire.update import UPDATE, HandedUpdate, Payload, UpdateEnvelope, UpdateManifest
from fedcore.rounds import admission, evaluation_requests, heldout, secure, signatures
from fedcore.rounds.effects import Forget
from fedcore.rounds.events import Accepted, Evaluated, Refused, Said, SiteEvaluated, SiteFailed
from fedcore.rounds.signatures import Shown
from fedstore.errors import HeadMovedError, StoreError, StoreFailedError, StoreFullError
from fedstore.memory import MemoryReader
from fedstore.objectstore import ObjectStore

log = logging.getLogger(__name__)
_T = TypeVar("_T")
_DOUBTS = ("WrongDigest", "Missing")  # in a failure report: the bytes of the model are not those of the order, or gone
_FATAL_CONTENT = frozenset({"WrongShape", "NotFinite", "Malformed"})  # the same training would send the same again
_FATAL_REPORT = frozenset({"TooLarge", "NotFinite", "Malformed"})  # as is the same evaluation
# Hand-ins of one site in one attempt that name what the store has not. An honest site uploads again in between.
MISSES = 20
NO_ATTEMPT = 0  # what is said is about the evaluation of a round, not about training in it
# Lateness, the hub's own trouble, and what was counted already are no failures of a site.
_NO_FAILURE = _FATAL_CONTENT | {
    "StoreFull", "Stopping", "StaleRound", "StaleAttempt", "NotSelected", "Missing", "Expired",
    "Busy", "TooSlow", "Incomplete", "Incompatible",
}  # fmt: skip


class Intake:
    """The way in for what sites send."""

    def __init__(self, engine: Engine, store: ObjectStore, payloads: Payloads, delivery: Delivery) -> None:
        self._engine, self._store, self._payloads, self._delivery = engine, store, payloads, delivery
        self._asking = Asking(engine, store, payloads)
        self._misses: dict[str, tuple[tuple[int, int], int]] = {}  # of each site, in its last attempt
        self._turns: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()  # one each

    async def update(self, client: str, handed: HandedUpdate) -> Receipt:
        """Verifies an update and makes its manifest durable, with what came in it; RequestRefusedError says why not."""
        engine, manifest = self._engine, handed.body
        try:
            async with self._turn("update", client):
                self._check_signed(client, statement.shown(handed), partial(statement.of_update, manifest))
                if _known(admission.update(engine.state, client, manifest)):
                    return Receipt(duplicate=True)
                plain_bytes = await self._judged(client, handed)
                _known(admission.update(engine.state, client, manifest))  # the round may have closed meanwhile
                write = partial(engine.interpreter.write_manifest, content=_by_key(handed), proven=self._is_proven)
                envelope = await self._durable(write, handed.envelope)
                durable = envelope.body
                await self._accepted(client, manifest, envelope)
                if durable != manifest:  # one that another process took before: it counts, this one does not
                    return Receipt(duplicate=_known(admission.update(engine.state, client, manifest)))
        except RequestRefusedError as error:
            await self.refused(client, error.refusal)
            raise
        observed.accepted(manifest.payloads[UPDATE], plain_bytes)
        metrics.BYTES.labels("in").inc(sum(map(len, handed.content.values())))
        return Receipt()

    def others(self, blob: ObjectRef) -> int:
        """How many updates are stored beside that one. Blocking."""
        layout = self._engine.state.layout
        said = storekey.parsed(layout, blob.key)
        if not isinstance(said, UpdateKey):
            return 0
        found = (storekey.parsed(layout, key) for key in self._store.keys(f"{layout.updates(said.client)}/"))
        return sum(1 for each in found if isinstance(each, UpdateKey) and each.round == said.round and each != said)

    def check_room(self, client: str, others: int) -> None:
        """RequestRefusedError when the site has stored so many other updates in that round that it may store no more."""
        refusal = admission.crowded(self._engine.state, client, others)
        if refusal is not None:
            raise RequestRefusedError(refusal)

    async def evaluation(self, client: str, report: EvaluationReport) -> Receipt:
        """Makes an evaluation durable."""
        engine = self._engine
        try:
            async with self._turn("evaluation", client):
                self._check_signed(client, statement.shown(report), partial(statement.of_report, report))
                held_out = heldout.is_held_out(engine.state, client)
                asked = held_out or evaluation_requests.asks(engine.state, client, report)
                if asked:
                    receipt = await self._site_evaluation(client, report, held_out=held_out)
                    if held_out or not admission.in_turn(engine.state, client, report):
                        return receipt
                if _known(admission.evaluated(engine.state, client, report)):
                    return Receipt(duplicate=True)
                durable = await self._durable(engine.interpreter.write_report, report)
                async with engine.lock:
                    if _known(admission.evaluated(engine.state, client, report)):
                        return Receipt(duplicate=True)
                    await engine.handle_locked(Evaluated(engine.clock(), durable))
        except RequestRefusedError as error:
            await self.refused(client, error.refusal)
            if error.refusal.code in _FATAL_REPORT:  # in the last step nobody waits for it any more
                now, refusal = engine.clock(), error.refusal
                await engine.handle(SiteFailed(now, client, report.round, NO_ATTEMPT, refusal.code, refusal.message))
            raise
        if not asked:  # else it was counted
            metrics.EVALUATIONS.inc()
        return Receipt(duplicate=durable != report.sealed())

    async def _site_evaluation(self, client: str, report: EvaluationReport, *, held_out: bool) -> Receipt:
        """Makes that of a held-out site, or one that was asked for, durable. There is no round that it could be too late for, so it is decided once."""
        engine = self._engine
        if refusal := admission.site_evaluation(engine.state, client, report):
            raise RequestRefusedError(refusal)
        said = report.model_dump(
            include={"job_uid", "round", "client", "model_sha256", "samples", "metrics", "signature", "key_id"}
        )
        record = SiteEvaluationRecord(**said, held_out=held_out, at=engine.clock())
        durable = await self._durable(engine.interpreter.write_site_evaluation, record)
        await engine.handle(SiteEvaluated(engine.clock(), durable))
        metrics.EVALUATIONS.inc()
        return Receipt(duplicate=durable != record.sealed())

    async def failure(self, client: str, report: FailureReport) -> Receipt:
        """Notes that a site cannot deliver."""
        self._check_signed(client, statement.shown(report), partial(statement.of_report, report))
        _known(admission.failed(self._engine.state, client, report))
        metrics.SITE_FAILURES.inc()
        fields = {"site": client, "round": report.round, "attempt": report.attempt, "reason": report.reason}
        log.info("site failed", extra={"fields": fields})
        said = f"{report.reason} {report.message}"
        if any(doubt in said for doubt in _DOUBTS) and admission.matters(self._engine.state, client, report):
            await self._engine.check_model()  # the site may have been sent what the hub's own disk spoilt
        now = self._engine.clock()
        await self._engine.handle(SiteFailed(now, client, report.round, report.attempt, report.reason, report.message))
        return Receipt()

    async def said(self, client: str, said: SecureSaid) -> None:
        """Takes what a site says in an exchange of secure aggregation; it is durable with the step. RequestRefusedError says why not."""
        if said.says is None:
            return
        engine = self._engine
        try:
            stated = partial(statement.of_secure, engine.state.config.uid, client, said)
            self._check_signed(client, statement.shown(said), stated)
            if said.numbers is not None:
                await self._numbers_arrived(client, said, said.numbers)
            async with engine.lock:
                _check(secure.said(engine.state, client, said))
                await engine.handle_locked(Said(engine.clock(), client, said))
        except RequestRefusedError as error:
            await self.refused(client, error.refusal)
            raise

    async def _numbers_arrived(self, client: str, said: SecureSaid, numbers: OpenedSum) -> None:
        """RequestRefusedError where what a site says of a sum is not in the store."""
        state = self._engine.state
        _check(secure.said(state, client, said))
        wanted = secure.numbers(state, client, said.round, said.attempt, numbers.sha256)
        if wanted is None:
            return
        try:
            await self._arrived(client, (said.round, said.attempt), wanted)
        except StoreError as error:
            raise self._unavailable(error) from error

    async def refused(self, client: str, refusal: Refusal) -> None:
        """Records a refusal, and counts it against the site where it is the site's doing. No client: a stranger."""
        metrics.REFUSALS.labels(refusal.code).inc()
        refusallog.note("refused", site=client, code=refusal.code, reason=refusal.message)
        if client:
            self._engine.ledger.caused("refused", client, code=refusal.code, message=refusal.message)
        if client and refusal.code not in _NO_FAILURE:
            await self._engine.handle(Refused(self._engine.clock(), client, refusal.code, refusal.message))

    def _check_signed(self, client: str, shown: Shown, stated: Callable[[], bytes]) -> None:
        """RequestRefusedError unless a site that has keys has signed what it says, before anything of it is looked at."""
        if not (known := signatures.keys(self._engine.state, client)):
            return
        try:
            text = stated()
        except ValueError:  # numbers that no canonical JSON has: refused where they are looked at, by its own name
            raise RequestRefusedError(Refusal(code="NotFinite", message="send finite numbers, and sign them")) from None
        refusal = signatures.refusal(known, client, shown, text, self._engine.clock())
        if refusal is not None:
            raise RequestRefusedError(refusal)

    def _is_proven(self, envelope: UpdateEnvelope) -> bool:
        """Whether an update that is durable already is its site's."""
        known = signatures.keys(self._engine.state, envelope.body.client)
        return not (known and signatures.doubt(known, statement.shown(envelope), statement.of_update(envelope.body)))

    def _turn(self, what: str, client: str) -> asyncio.Lock:
        """Held while a site sends something of that kind."""
        return self._turns.setdefault((what, client), asyncio.Lock())

    async def _accepted(self, client: str, manifest: UpdateManifest, envelope: UpdateEnvelope) -> None:
        """Takes an update whose manifest is durable. One that is refused after all must not count after a restart."""
        engine, durable = self._engine, envelope.body
        signed = statement.signed(envelope) if signatures.keys(engine.state, client) else None
        async with engine.lock:
            answer = admission.update(engine.state, client, manifest)
            if answer is None:
                await engine.handle_locked(Accepted(engine.clock(), durable, signed))
                return
        if isinstance(answer, Refusal) and durable == manifest:
            key = engine.state.layout.manifest(client, manifest.round, manifest.attempt)
            with contextlib.suppress(StoreError):  # the close, or the failure, of its attempt says the same
                await engine.blocking(engine.interpreter.delete, Forget((key,)))
        _known(answer)

    async def _judged(self, client: str, handed: HandedUpdate) -> int:
        """Bytes of the update as a plain file; RequestRefusedError when it is none, or the store does not let it be looked at now."""
        try:
            return await self._check_content(client, handed)
        except StoreError as error:  # also one that is unfit by now, or lost the object while it was read
            raise self._unavailable(error) from error

    def _unavailable(self, error: StoreError) -> RequestRefusedError:
        log.warning("the store cannot be used", extra={"fields": {"reason": str(error)}})
        self._engine.store_failed(error)
        return RequestRefusedError(Refusal(code="StoreFull", message="the store cannot take it now: send it again"))

    async def _check_content(self, client: str, handed: HandedUpdate) -> int:
        """Content that can never be taken also ends the site's part in the attempt: it would only send it again."""
        engine, manifest, inline = self._engine, handed.body, _by_key(handed)
        asked = await self._asking.of(client)
        try:
            for name, payload in sorted(manifest.payloads.items()):
                ref, sent, wanted = payload.object, Sent(payload, manifest.place(name)), asked[name]
                if ref.key in inline and payload.masked:
                    self._check_granted(client, manifest, ref)
                    content.check_digest(ref, inline[ref.key])
                    content.check_ciphertexts(payload, MemoryReader(ref.key, inline[ref.key]))
                    self.check_room(client, await engine.blocking(self.others, ref))
                elif payload.masked:  # what is in it nobody can see
                    await self._arrived(client, (manifest.round, manifest.attempt), ref)
                    await engine.blocking(self._check_ciphertexts, payload)
                elif ref.key in inline:
                    self._check_granted(client, manifest, ref)
                    others = await engine.blocking(self._inline_others, sent, inline[ref.key], wanted)
                    self.check_room(client, others)
                else:
                    await self._arrived(client, (manifest.round, manifest.attempt), ref)
                    await engine.blocking(content.check_update, self._store, self._payloads, sent, wanted)
        except RequestRefusedError as error:
            refusal = error.refusal
            if refusal.code == "WrongShape":
                await engine.check_model()  # the base's own table may be what is wrong
            if refusal.code in _FATAL_CONTENT:
                now, round_, attempt = engine.clock(), manifest.round, manifest.attempt
                await engine.handle(SiteFailed(now, client, round_, attempt, refusal.code, refusal.message))
            raise
        return asked[UPDATE].layout.table.size

    def _check_ciphertexts(self, payload: Payload) -> None:
        with self._store.reader(payload.object.key) as reader:
            content.check_ciphertexts(payload, reader)

    async def _arrived(self, client: str, attempt: tuple[int, int], upload: ObjectRef) -> None:
        """RequestRefusedError where the store has it not, or was asked in vain so often that it is not asked any more."""
        last, misses = self._misses.get(client, (attempt, 0))
        misses = misses if last == attempt else 0
        if misses >= MISSES:
            message = (
                f"site {client!r} handed in {misses} times what was not uploaded: the store is asked no more in attempt"
            )
            way_out = "look at the site's way to the store"
            raise RequestRefusedError(
                Refusal(code="Busy", message=f"{message} {attempt[1]} of round {attempt[0]}: {way_out}")
            )
        try:
            await self._engine.blocking(self._delivery.arrived, upload)
        except RequestRefusedError as error:
            if error.refusal.code == "Missing":
                self._misses[client] = attempt, misses + 1
            raise

    def _check_granted(self, client: str, manifest: UpdateManifest, payload: ObjectRef) -> None:
        """RequestRefusedError when what came with its manifest would not have been granted."""
        round_, attempt = manifest.round, manifest.attempt
        request = UploadRequest(round=round_, attempt=attempt, sha256=payload.sha256, size=max(1, payload.size))
        if isinstance(answer := admission.upload(self._engine.state, client, request), Refusal):
            raise RequestRefusedError(answer)

    def _inline_others(self, sent: Sent, data: bytes, asked: Asked) -> int:
        """How many other updates the site has stored, if this one is one. Blocking."""
        content.check_inline(self._payloads, sent, data, asked)
        return self.others(sent.ref)

    async def _durable(self, write: Callable[[_T], _T], record: _T) -> _T:
        """Writes a record; what is durable under its key afterwards. A full store is the hub's trouble: try again."""
        try:
            return await self._engine.blocking(write, record)
        except (StoreFullError, StoreFailedError) as error:
            raise self._unavailable(error) from error
        except HeadMovedError as error:
            raise self._engine.ended(SupersededError()) from error
        except FatalError as error:
            self._engine.ended(error)
            raise


def _by_key(handed: HandedUpdate) -> dict[str, bytes]:
    """What came with a manifest, by where it belongs; RequestRefusedError when the manifest has none of that name."""
    payloads = handed.body.payloads
    if stray := sorted(handed.content.keys() - payloads.keys()):
        message = f"content.{stray[0][:63]} is no payload of the manifest: send those alone"
        raise RequestRefusedError(Refusal(code="Malformed", message=message))
    return {payloads[name].object.key: data for name, data in handed.content.items()}


def _check(answer: object) -> None:
    """RequestRefusedError when it is refused."""
    if isinstance(answer, Refusal):
        raise RequestRefusedError(answer)


def _known(answer: Refusal | UpdateManifest | EvaluationReport | None) -> bool:
    """Whether it was taken before; RequestRefusedError when it is refused."""
    _check(answer)
    return answer is not None
