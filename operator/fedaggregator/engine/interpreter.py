"""Carries out fedcore's effects on the store, one method each. Blocking; called by the engine in a thread.

Order of a commit: model (by the fold), commit.json, HEAD. Records are canonical bytes, so doing it again is harmless.
"""

from collections.abc import Callable
from typing import TypeVar, assert_never

from fedaggregator.engine import modelfile, records
from fedapi.wire.message import Message, ObjectRef
from fedapi.wire.site import EvaluationReport, UpdateManifest
from fedapi.wire.store import CloseRecord, CommitRecord, EvaluationRecord, FailureRecord, Head, Layout, PlanRecord
from fedcore.effects import Commit, Discard, Effect, Finish, Fold, WriteClose, WriteEvaluation, WriteFailure, WritePlan
from fedcore.state import End
from fedstore.errors import AlreadyExists, HeadMoved
from fedstore.objectstore import ObjectStore

_M = TypeVar("_M", bound=Message)


class Interpreter:
    """The one writer of a job's records in this process."""

    def __init__(self, store: ObjectStore, layout: Layout, head: Head, tag: str) -> None:
        self._store, self._layout = store, layout
        self._head, self._tag = head, tag

    def perform(self, effect: Effect) -> None:
        """Makes one effect durable. A Fold is not performed here: it takes long and answers."""
        match effect:
            case WritePlan():
                self.write_plan(effect.plan)
            case WriteClose():
                self.write_close(effect.close)
            case WriteFailure():
                self.write_failure(effect.failure)
            case WriteEvaluation():
                self.write_evaluation(effect.evaluation, effect.attempt)
            case Commit():
                self.move_head(effect.commit, self.write_commit(effect.commit))
            case Finish():
                self.finish(effect.end)
            case Discard():
                self.discard(effect)
            case Fold():
                raise TypeError("a fold is made by `fold`")
            case _:
                assert_never(effect)

    def fold(self, order: Fold, cancelled: Callable[[], bool]) -> ObjectRef:
        """The next model, in the store."""
        return modelfile.fold(self._store, self._layout, order, cancelled)

    def write_plan(self, plan: PlanRecord) -> None:
        """plan.json"""
        self._put(plan.round, plan.attempt, records.PLAN, plan)

    def write_close(self, close: CloseRecord) -> None:
        """close.json; HeadMoved when another aggregator decides by now"""
        self._check_head()
        self._put(close.round, close.attempt, records.CLOSE, close)

    def write_failure(self, failure: FailureRecord) -> None:
        """failure.json; HeadMoved when another aggregator decides by now"""
        self._check_head()
        self._put(failure.round, failure.attempt, records.FAILURE, failure)

    def write_evaluation(self, evaluation: EvaluationRecord, attempt: int) -> None:
        """evaluation.json"""
        self._put(evaluation.round, attempt, records.EVALUATION, evaluation)

    def write_commit(self, commit: CommitRecord) -> str:
        """commit.json; its key"""
        return self._put(commit.round, commit.attempt, records.COMMIT, commit)

    def move_head(self, commit: CommitRecord, key: str) -> None:
        """HEAD to that commit."""
        self._replace_head(
            self._head.model_copy(update={"round": commit.round, "commit_key": key, "commit_sha256": commit.digest()})
        )

    def finish(self, end: End) -> None:
        """HEAD says that training ended."""
        update = {"finished": end.result, "reason": end.reason, "message": end.message, "finished_at": end.at}
        self._replace_head(self._head.model_copy(update=update))

    def write_manifest(self, manifest: UpdateManifest) -> UpdateManifest:
        """An accepted update's manifest; the one that counts, if another was durable before."""
        key = self._layout.manifest(manifest.client, manifest.round, manifest.attempt)
        return self._first(key, manifest)

    def write_report(self, report: EvaluationReport) -> EvaluationReport:
        """A site's evaluation; the one that counts."""
        return self._first(self._layout.evaluation_report(report.client, report.round), report)

    def superseded(self) -> bool:
        """Whether another aggregator took HEAD."""
        found = self._store.head(self._layout.head)
        return found is not None and found.tag != self._tag

    def _check_head(self) -> None:
        if self.superseded():
            raise HeadMoved("an aggregator with a newer epoch took HEAD")

    def discard(self, effect: Discard) -> None:
        """Deletes updates of committed rounds, reports on models before the last, and models nobody needs."""
        for key in self._store.keys(self._layout.updates("")):  # of all sites, those that left the job included
            round_ = _round_of(key)
            report = key.endswith(".evaluation.json")
            if round_ is not None and (round_ < effect.round if report else round_ <= effect.round):
                self._store.delete(key)
        prefix = self._layout.model(0, "").rpartition("/")[0]
        for key in self._store.keys(f"{prefix}/"):
            made_in, _, rest = key.rpartition("/")[2].partition("-")
            if int(made_in) <= effect.round and rest.removesuffix(".safetensors") not in effect.keep:
                self._store.delete(key)

    def _first(self, key: str, record: _M) -> _M:
        """Writes a record, or reads the one that is there already."""
        try:
            self._store.put_once(key, record.canonical())
        except AlreadyExists:
            return type(record).model_validate_json(self._store.get(key))
        return record

    def _put(self, round_: int, attempt: int, name: str, record: Message) -> str:
        key = f"{self._layout.attempt(round_, self._head.epoch, attempt)}/{name}"
        self._store.put_once(key, record.canonical())
        return key

    def _replace_head(self, head: Head) -> None:
        if head == self._head:
            return
        data = head.canonical()
        try:
            self._tag = self._store.replace_head(self._layout.head, data, self._tag).tag
        except HeadMoved:
            found = self._store.head(self._layout.head)
            if found is None or found.data != data:
                raise
            self._tag = found.tag  # an earlier try moved it and failed afterwards
        self._head = head


def _round_of(key: str) -> int | None:
    """The round that a file of a client's prefix belongs to."""
    name = key.rpartition("/")[2].rpartition("_round_")[2]
    digits = name[: len(name) - len(name.lstrip("0123456789"))]
    return int(digits) if digits else None
