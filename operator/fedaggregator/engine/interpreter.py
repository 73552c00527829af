"""Carries out fedcore's effects on the store, one method each. Blocking; called by the engine in a thread.

Order of a commit: model (by the fold), commit.json, HEAD. Records are sealed canonical bytes, so doing it again is
harmless.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import TypeVar, assert_never

from fedaggregator.engine import adding, broadcast, earlier, folding, judging, measuring, records, unmasking
from fedaggregator.engine.folding import ModelNotFiniteError
from fedaggregator.engine.payloads import Payloads
from fedaggregator.errors import DamagedError, StoreDamagedError
from fedapi.wire import storekey
from fedapi.wire.commit import CommitRecord
from fedapi.wire.issues import IssueRecord
from fedapi.wire.layout import Layout
from fedapi.wire.message import DamagedRecordError, ObjectRef, Record
from fedapi.wire.plan import PlanRecord
from fedapi.wire.secureround import FILES, StepRecord
from fedapi.wire.site import EvaluationReport
from fedapi.wire.siteevaluation import SiteEvaluationRecord
from fedapi.wire.store import CloseRecord, EvaluationRecord, FailureRecord, Head
from fedapi.wire.storekey import (
    BroadcastKey,
    HubStateKey,
    ManifestKey,
    ModelKey,
    RecordKey,
    ReportKey,
    StoreKey,
    SumKey,
    UpdateKey,
)
from fedapi.wire.update import UpdateEnvelope
from fedcore.anomalies.record import UNJUDGED
from fedcore.rounds.closing import (
    MODEL_NOT_FINITE,
    QUORUM_NOT_REACHED,
    SECURE_AGGREGATION_FAILED,
    STRATEGY_FAILED,
    TOO_FEW_UPDATES,
)
from fedcore.rounds.effects import (
    AddUp,
    Commit,
    Discard,
    Effect,
    Encode,
    Finding,
    Finish,
    Fold,
    Forget,
    Long,
    Measure,
    Withdraw,
    WriteClose,
    WriteEvaluation,
    WriteFailure,
    WritePlan,
    WriteStep,
)
from fedcore.rounds.events import (
    AddedUp,
    Encoded,
    Folded,
    FoldFailed,
    Measured,
    ModelFound,
    ModelLost,
    RoundFound,
    RoundLost,
    UpdatesDamaged,
)
from fedcore.rounds.outgoing import Outgoing
from fedcore.rounds.state import End
from fedcore.secagg.errors import AttemptFailedError
from fedcore.strategies.strategy import StrategyFailedError
from fedcore.strategies.weighing import TooFewUpdatesError
from fedstore import history, many
from fedstore.errors import AlreadyExistsError, HeadMovedError, MissingError, StoreFailedError
from fedstore.objectstore import ObjectStore

_M = TypeVar("_M", bound=Record)
_TRIES = 3  # to write a record that comes and goes under somebody else's hands
_NO_MODEL: Mapping[type[Exception], str] = {  # why a fold gives none
    ModelNotFiniteError: MODEL_NOT_FINITE,
    TooFewUpdatesError: TOO_FEW_UPDATES,
    StrategyFailedError: STRATEGY_FAILED,
    AttemptFailedError: SECURE_AGGREGATION_FAILED,
}
Answer = (
    AddedUp
    | Folded
    | Encoded
    | Measured
    | FoldFailed
    | UpdatesDamaged
    | RoundFound
    | RoundLost
    | ModelFound
    | ModelLost
)


class Interpreter:
    """The one writer of a job's records in this process."""

    def __init__(self, store: ObjectStore, payloads: Payloads, layout: Layout, head: Head, tag: str) -> None:
        self._store, self._payloads, self._layout = store, payloads, layout
        self._head, self._tag = head, tag

    def perform(self, effect: Effect) -> None:
        """Makes one effect durable. What takes long is not performed here, and has an `answer`: Fold, AddUp, Encode, FindRound."""
        match effect:
            case WritePlan():
                self.write_plan(effect.plan)
            case WriteClose():
                self.write_close(effect.close)
            case WriteStep():
                self.write_step(effect.step)
            case WriteFailure():
                self.write_failure(effect.failure)
            case WriteEvaluation():
                self.write_evaluation(effect.evaluation, effect.attempt)
            case Commit():
                self.move_head(effect.commit, self.write_commit(effect.commit))
            case Finish():
                self.finish(effect.end)
            case Withdraw() | Forget() | Discard():
                self.delete(effect)
            case _ if isinstance(effect, Long):
                raise TypeError("what takes long is done by `answer`")
            case _:
                assert_never(effect)

    def fold(self, order: Fold, cancelled: Callable[[], bool]) -> folding.Result:
        """The next model and what its strategy remembers, in the store."""
        return folding.fold(self._store, self._payloads, self._layout, order, cancelled)

    def encode(self, what: Outgoing, cancelled: Callable[[], bool]) -> broadcast.Result:
        """A committed model as sites get it, in the store. DamagedError when it is not what was committed."""
        return broadcast.encode(self._store, self._payloads, self._layout, what, cancelled)

    def answer(self, order: Long, cancelled: Callable[[], bool], now: Callable[[], float]) -> Answer:
        """What becomes of it. StoreDamagedError, or DamagedError of an Encode, when what it began with is not what was committed."""
        if isinstance(order, Finding):
            return earlier.answer(self._store, self._layout, self._head, order, now)
        if isinstance(order, Encode):
            sent = self.encode(order.what, cancelled)
            return Encoded(now(), order.what, sent.object, sent.plain_bytes, sent.reference)
        if isinstance(order, AddUp):
            return self._added(order.of, cancelled, now)
        if isinstance(order, Measure):
            return measuring.measured(self._store, order, now())
        return self._folded(order, cancelled, now)

    def _folded(self, order: Fold, cancelled: Callable[[], bool], now: Callable[[], float]) -> Answer:
        judged = UNJUDGED
        try:
            order = unmasking.summed(self._store, self._payloads, self._layout, order, cancelled)
            judged = judging.judged(self._store, self._payloads, self._layout, order, cancelled)
            left = order.without(judged.excluded)
            if shortfall := left.shortfall(judged.excluded):
                return FoldFailed(now(), order.round, order.attempt, QUORUM_NOT_REACHED, shortfall, judged)
            made = self.fold(left, cancelled)
        except tuple(_NO_MODEL) as error:
            return FoldFailed(now(), order.round, order.attempt, _NO_MODEL[type(error)], str(error), judged)
        except DamagedError as error:
            return _damaged(order, error, now())
        return Folded(now(), order.round, order.attempt, made.model, made.hub_state, judged, made.within)

    def _added(self, order: Fold, cancelled: Callable[[], bool], now: Callable[[], float]) -> Answer:
        try:
            total = adding.added(self._store, self._payloads, self._layout, order, cancelled)
        except AttemptFailedError as error:
            return FoldFailed(now(), order.round, order.attempt, SECURE_AGGREGATION_FAILED, str(error))
        except DamagedError as error:
            return _damaged(order, error, now())
        return AddedUp(now(), order.round, order.attempt, total)

    def write_plan(self, plan: PlanRecord) -> None:
        """plan.json"""
        self._put(plan.round, plan.attempt, records.PLAN, plan)

    def write_close(self, close: CloseRecord) -> None:
        """close.json; HeadMovedError when another aggregator decides by now"""
        self._check_head()
        self._put(close.round, close.attempt, records.CLOSE, close)

    def write_step(self, step: StepRecord) -> None:
        """secure-….json; HeadMovedError when another aggregator decides by now"""
        self._check_head()
        self._put(step.round, step.attempt, FILES[step.step], step)

    def write_failure(self, failure: FailureRecord) -> None:
        """failure.json; HeadMovedError when another aggregator decides by now"""
        self._check_head()
        self._put(failure.round, failure.attempt, records.FAILURE, failure)

    def write_evaluation(self, evaluation: EvaluationRecord, attempt: int) -> None:
        """evaluation.json"""
        self._put(evaluation.round, attempt, records.EVALUATION, evaluation)

    def write_commit(self, commit: CommitRecord) -> str:
        """commit.json; its key"""
        return self._put(commit.round, commit.attempt, history.COMMIT, commit)

    def write_issues(self, issues: IssueRecord) -> None:
        """issues.json"""
        self._put(issues.round, issues.attempt, history.ISSUES, issues)

    def move_head(self, commit: CommitRecord, key: str, signature: str | None = None) -> None:
        """HEAD to that commit. `signature`: over it, by the ledger's key."""
        at = {"round": commit.round, "commit_key": key, "commit_sha256": commit.sealed().digest()}
        update = {**at, "commit_signature": signature}
        self._replace_head(self._head.model_copy(update=update))

    def finish(self, end: End) -> None:
        """HEAD says that training ended."""
        update = {"finished": end.result, "reason": end.reason, "message": end.message, "finished_at": end.at}
        self._replace_head(self._head.model_copy(update=update))

    def write_manifest(
        self,
        envelope: UpdateEnvelope,
        content: Mapping[str, bytes] = MappingProxyType({}),
        proven: Callable[[UpdateEnvelope], bool] = lambda _: True,
    ) -> UpdateEnvelope:
        """An accepted update's envelope, and by key what came with it; the one that counts, if another was durable before.

        One that is not `proven` to be its site's counts for nothing, as one of another model.
        """
        manifest = envelope.body
        key = self._layout.manifest(manifest.client, manifest.round, manifest.attempt)
        return self._first(key, envelope, lambda each: each.body.base_sha256 if proven(each) else "", content)

    def write_report(self, report: EvaluationReport) -> EvaluationReport:
        """A site's evaluation; the one that counts."""
        key = self._layout.evaluation_report(report.client, report.round)
        return self._first(key, report, lambda each: each.model_sha256)

    def write_site_evaluation(self, record: SiteEvaluationRecord) -> SiteEvaluationRecord:
        """What a site measured outside of training; the one that counts, which is the first of that model."""
        key = self._layout.site_evaluation(record.client, record.round, record.model_sha256)
        return self._first(key, record, lambda each: each.model_sha256)

    def keep_initial(self, model: ObjectRef) -> None:
        """Deletes all other models of round 0; HeadMovedError when another aggregator, which may have committed one, took HEAD."""
        self._check_head()
        for key in self._store.keys(f"{self._layout.models()}/"):
            said = storekey.parsed(self._layout, key)
            if isinstance(said, ModelKey) and said.round == 0 and said.sha256 != model.sha256:
                self._store.delete(key)

    def superseded(self) -> bool:
        """Whether another aggregator took HEAD. StoreDamagedError when it is lost, or nobody's."""
        found = records.read_head(self._store, self._layout)
        return found is None or found[1] != self._tag

    def _check_head(self) -> None:
        if self.superseded():
            raise HeadMovedError("an aggregator with a newer epoch took HEAD")

    def delete(self, effect: Withdraw | Forget | Discard) -> None:
        """What must not, or need not, be there any more."""
        match effect:
            case Withdraw():
                self.withdraw(effect)
            case Forget():
                many.delete(self._store, effect.keys)
            case Discard():
                self.discard(effect)

    def discard(self, effect: Discard) -> None:
        """Deletes updates of committed rounds, reports on models before the last, and what the history does not keep."""
        found = history.passing(self._store, self._layout)  # of all sites, those that left the job included
        many.delete(self._store, (key for key, said in found if _over(said, effect)))
        if effect.exchanges:
            many.delete(self._store, self._exchanged(effect.round))

    def _exchanged(self, round_: int) -> Iterator[str]:
        """Keys of what sites said to each other in the exchanges of a round."""
        for key in self._store.keys(f"{self._layout.round(round_)}/"):
            said = storekey.parsed(self._layout, key)
            if isinstance(said, RecordKey) and said.name in FILES.values():
                yield key

    def withdraw(self, effect: Withdraw) -> None:
        """Deletes damaged updates and their manifests, and what was decided with them; HeadMovedError as above."""
        self._check_head()
        for key in self._store.keys(f"{self._layout.round(effect.round)}/"):
            said = storekey.parsed(self._layout, key)
            if isinstance(said, RecordKey) and (said.attempt, said.name) == (effect.attempt, records.CLOSE):
                self._store.delete(key)
        for manifest in effect.manifests:
            for ref in manifest.objects:
                self._store.delete(ref.key)
            self._store.delete(self._layout.manifest(manifest.client, manifest.round, manifest.attempt))

    def _first(
        self, key: str, record: _M, model: Callable[[_M], str], beside: Mapping[str, bytes] = MappingProxyType({})
    ) -> _M:
        """Writes a record, and before it what it names, or reads the one that is there already.

        One that is damaged, or of another model than is committed since a repair, counts for nothing and makes room:
        to who holds HEAD. HeadMovedError for everybody else, whose model is the one that does not count.
        """
        sealed = record.sealed()
        objects = {**beside, key: sealed.canonical()}
        for _ in range(_TRIES):
            try:
                self._store.put_together(objects)
            except AlreadyExistsError:
                with contextlib.suppress(MissingError):  # it was deleted since
                    found = self._found(key, record)
                    if found is not None and model(found) == model(record):
                        return found
                    self._check_head()
                    self._store.delete(key)
            else:
                return sealed
        raise StoreFailedError(f"{key} is there when it is written, and gone when it is read")

    def _found(self, key: str, kind: _M) -> _M | None:
        """The record under a key; None when it is damaged or another's, MissingError when there is none."""
        said = storekey.parsed(self._layout, key)
        with records.readable(key), contextlib.suppress(DamagedRecordError):
            record = type(kind).stored(self._store.get(key))
            return (
                record
                if said is not None and records.belongs(record, said, self._head.uids(self._layout.uid))
                else None
            )
        return None

    def _put(self, round_: int, attempt: int, name: str, record: Record) -> str:
        key = self._layout.record(round_, self._head.epoch, attempt, name)
        self._store.put_once(key, record.sealed().canonical())
        return key

    def _replace_head(self, head: Head) -> None:
        if head == self._head:
            return
        data = head.sealed().canonical()
        try:
            self._tag = self._store.replace_head(self._layout.head, data, self._tag).tag
        except HeadMovedError:
            found = self._store.head(self._layout.head)
            if found is None or found.data != data:
                self.superseded()
                raise
            self._tag = found.tag  # an earlier try moved it and failed afterwards
        self._head = head


def _damaged(order: Fold, error: DamagedError, now: float) -> UpdatesDamaged:
    """That updates are not what was accepted; StoreDamagedError where it is what the order began with."""
    ours = (order.base, order.hub_state, order.initial)
    if error.found.keys() & {ref.key for ref in ours if ref is not None}:
        raise StoreDamagedError(str(error)) from error
    named = {key: f"{key}: {what}" for key, what in error.found.items()}
    return UpdatesDamaged(now, order.round, order.attempt, named)


def _over(said: StoreKey, effect: Discard) -> bool:
    """Whether nobody needs an object any more after that round."""
    match said:
        case ModelKey() | BroadcastKey() | SumKey() | HubStateKey():
            return said.round <= effect.round and said.sha256 not in effect.keep
        case ReportKey():
            return said.round < effect.round
        case UpdateKey() | ManifestKey() if effect.unsettled is not None:
            return said.round <= effect.round and not effect.unsettled.has(said.client, said.round)
        case _:
            return said.round <= effect.round
