"""Reads a job's records from the store: taking HEAD, and the log that recovery replays. Called by the engine at start.

Blocking; run in a thread. Foreign files are ignored. What is committed must be whole (StoreDamagedError); what is damaged of
the round under way is named in the log and left out. What a newer version wrote, and this one cannot read, is nobody's to leave
out: TooOldError. Repairing is in salvage.py.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeVar

from fedaggregator.errors import StoreDamagedError, SupersededError, TooOldError
from fedapi.wire import statement
from fedapi.wire.commit import CommitRecord
from fedapi.wire.layout import Layout
from fedapi.wire.message import DamagedRecordError, Message, NewerRecordError, Record
from fedapi.wire.plan import PlanRecord
from fedapi.wire.secureround import FILES, StepRecord
from fedapi.wire.signature import Signed, SiteKey
from fedapi.wire.site import EvaluationReport
from fedapi.wire.siteevaluation import SiteEvaluationRecord
from fedapi.wire.store import CloseRecord, EvaluationRecord, FailureRecord, Head
from fedapi.wire.storekey import ManifestKey, RecordKey, ReportKey, SiteEvaluationKey, StoreKey
from fedapi.wire.update import UpdateEnvelope
from fedcore.rounds import lines, recovery, signatures, window
from fedcore.rounds.effort import Effort
from fedcore.rounds.recovery import Damage, Log
from fedcore.rounds.sites import Site
from fedstore import history, many
from fedstore.errors import FencedOffError, HeadMovedError, HistoryDamagedError, MissingError
from fedstore.objectstore import ObjectStore

PLAN, CLOSE, EVALUATION, FAILURE = "plan.json", "close.json", "evaluation.json", "failure.json"
RECORD_DAMAGED = "RecordDamaged"  # why an attempt failed whose failure.json cannot be read
_M = TypeVar("_M", bound=Record)


def read_head(store: ObjectStore, layout: Layout) -> tuple[Head, str] | None:
    """HEAD and its tag; None in a new store. StoreDamagedError when it cannot be read, or is gone and other objects are not."""
    with fatal():
        return history.read_head(store, layout)


def take_head(store: ObjectStore, layout: Layout) -> tuple[Head, str]:
    """HEAD with the epoch raised by one, and its tag. From here on an older aggregator can no longer commit."""
    while True:
        found = read_head(store, layout)
        if found:
            check_newest(store, layout, *found)
        head = found[0].model_copy(update={"epoch": found[0].epoch + 1}) if found else Head(epoch=1, round=-1)
        try:
            written = store.replace_head(layout.head, head.sealed().canonical(), found[1] if found else None)
        except FencedOffError as error:
            raise SupersededError from error
        except HeadMovedError:
            continue
        return head, written.tag


def check_newest(store: ObjectStore, layout: Layout, head: Head, tag: str) -> None:
    """StoreDamagedError when an older HEAD was put back: records of an epoch begin after HEAD has it, rounds follow HEAD."""
    for key, said in history.objects(store, layout):
        if not isinstance(said, RecordKey) or (said.epoch, said.round) <= (head.epoch, head.round + 1):
            continue
        now = store.head(layout.head)
        if now is not None and now.tag == tag:
            text = f"{layout.head} is of epoch {head.epoch} and round {head.round}, but there is {key}"
            raise StoreDamagedError(f"{text}: an older HEAD was put back")


def load_log(
    store: ObjectStore,
    layout: Layout,
    head: Head,
    *,
    looks_back: bool = False,
    keys: Mapping[str, tuple[SiteKey, ...]] = MappingProxyType({}),
) -> Log:
    """Everything that recovery needs. `looks_back`: updates of orders before the round under way may count, too.

    `keys`: of the sites that have some. What such a site did not sign is not what was written.
    """
    found = sorted(history.objects(store, layout), key=_order)
    commits, sites, effort = _committed(store, layout, head)
    tip = commits[-1] if commits else None
    reader = _Reader(store, layout.uid, head.uids(layout.uid), keys)
    open_ = ((k, s) for k, s in found if isinstance(s, ManifestKey) and _is_open(s, head, looks_back))
    envelopes = tuple(reader.all(open_, UpdateEnvelope))
    return Log(
        head=head,
        commits=tuple(commits),
        sites=sites,
        effort=effort,
        evaluations=tuple(_evaluations(reader, found, commits, finished=head.finished is not None)),
        tip_selected=_tip_selected(reader, found, tip),
        plans=tuple(_own(layout, reader.all(_named(found, head.round + 1, PLAN), PlanRecord))),
        failures=tuple(_failures(reader, _named(found, head.round + 1, FAILURE))),
        closes=tuple(reader.all(_named(found, head.round + 1, CLOSE), CloseRecord)),
        steps=tuple(
            record for name in FILES.values() for record in reader.all(_named(found, head.round + 1, name), StepRecord)
        ),
        manifests=tuple(envelope.body for envelope in envelopes),
        signed=reader.signed,
        reports=tuple(reader.all(((k, s) for k, s in found if _is(s, ReportKey, head.round)), EvaluationReport)),
        site_evaluations=tuple(reader.all(_site_evaluations(found, commits), SiteEvaluationRecord)),
        damages=tuple(reader.damages),
    )


def _site_evaluations(
    found: Iterable[tuple[str, StoreKey]], commits: list[CommitRecord]
) -> Iterator[tuple[str, SiteEvaluationKey]]:
    """The newest evaluation of each site outside of training, of a model that is committed."""
    models = {commit.round: commit.model.sha256 for commit in commits}
    own = ((k, s) for k, s in found if isinstance(s, SiteEvaluationKey) and models.get(s.round) == s.model_sha256)
    yield from {said.client: (key, said) for key, said in own}.values()  # by round: the last one stays


def _own(layout: Layout, plans: Iterable[PlanRecord]) -> Iterator[PlanRecord]:
    """Plans of this job: one that was restored with a round, which a repair went back behind, names another's objects."""
    return (plan for plan in plans if plan.job_uid == layout.uid)


def _committed(store: ObjectStore, layout: Layout, head: Head) -> tuple[list[CommitRecord], Mapping[str, Site], Effort]:
    """The commits, oldest first, and what sites did in all but the last: a thousand participants a round are 1.4 MiB."""
    commits: list[CommitRecord] = []
    sites: Mapping[str, Site] = {}
    effort = Effort()
    with fatal():
        for commit, counts in lines.marked(history.links(store, layout, head), head.round):
            if not commits:
                commits.append(commit)
                continue
            sites, effort = recovery.did_earlier(sites, commit, counts=counts), effort.with_commit(commit)
            commits.append(commit.model_copy(update={"participants": (), "missed": (), "lost_s": 0.0}))
    return commits[::-1], sites, effort


@contextmanager
def fatal() -> Iterator[None]:
    """Nobody can go on from a history that is damaged, or that this version cannot read."""
    try:
        yield
    except HistoryDamagedError as error:
        raise StoreDamagedError(str(error)) from error
    except NewerRecordError as error:
        raise TooOldError(str(error)) from error


@contextmanager
def readable(key: str) -> Iterator[None]:
    """TooOldError where a whole record is of a newer version: it is neither left out nor written over."""
    try:
        yield
    except NewerRecordError as error:
        raise TooOldError(f"{key}: {error}") from error


@dataclass
class _Reader:
    """Reads records, and keeps what cannot be read."""

    store: ObjectStore
    uid: str
    uids: frozenset[str]  # that records may say
    keys: Mapping[str, tuple[SiteKey, ...]]  # of the sites that have some
    signed: dict[tuple[str, int, int], Signed] = field(default_factory=dict)  # signatures of updates that were read
    damages: list[Damage] = field(default_factory=list)

    def all(self, keys: Iterable[tuple[str, StoreKey]], model: type[_M]) -> Iterator[_M]:
        """The records that are what was written."""
        said = dict(keys)
        for key, data in many.mapped(self.store, self.content, said):
            record = self.one(key, said[key], model, data)
            if record is not None:
                yield record

    def content(self, key: str) -> bytes | None:
        """What is under a key; None when it is gone."""
        with suppress(MissingError):
            return self.store.get(key)
        return None

    def one(self, key: str, said: StoreKey, model: type[_M], data: bytes | None) -> _M | None:
        """The record of these bytes; None when it is damaged or gone."""
        if data is None:
            self._leave_out(key, said, "it is gone")
            return None
        try:
            with readable(key):
                record = model.stored(data)
        except DamagedRecordError as error:
            self._leave_out(key, said, str(error))
            return None
        if not belongs(record, said, self.uids):
            self._leave_out(key, said, "what it says belongs to another key")
            return None
        if why := self._doubt(record, data):
            self._leave_out(key, said, why)
            return None
        return record

    def _doubt(self, record: Record, data: bytes) -> str:
        """Why a record is not its site's, which has keys; empty when it is, and of an update its signature is kept."""
        report = record.report if isinstance(record, SiteEvaluationRecord) else record
        if not isinstance(report, UpdateEnvelope | EvaluationReport):
            return ""
        client = report.body.client if isinstance(report, UpdateEnvelope) else report.client
        if not (known := self.keys.get(client, ())):
            return ""
        if isinstance(report, EvaluationReport):
            return signatures.doubt(known, statement.shown(report), statement.of_report(report))
        body, sha256 = report.body, statement.stored_body_sha256(data)
        why = signatures.doubt(known, statement.shown(report), statement.of_update(body, sha256))
        if not why and (signed := statement.signed(report, sha256)):
            self.signed[client, body.round, body.attempt] = signed
        return why

    def _leave_out(self, key: str, said: StoreKey, what: str) -> None:
        client = said.client if isinstance(said, ManifestKey | ReportKey) else ""  # who sends it again when it is asked
        self.damages.append(Damage(key, what, client))


def belongs(record: Record, said: StoreKey, uids: frozenset[str]) -> bool:
    """Whether the record says the same as its key, of one of those jobs."""
    told = _said(record).model_dump(include={"job_uid", "round", "attempt", "client"})
    if told.pop("job_uid", None) not in (None, *uids):
        return False
    says: dict[str, object] = {"round": said.round}
    if isinstance(said, ManifestKey | ReportKey | SiteEvaluationKey):
        says["client"] = said.client
    if isinstance(said, RecordKey | ManifestKey):
        says["attempt"] = said.attempt
    return all(told.get(name, value) == value for name, value in says.items())


def _said(record: Record) -> Message:
    """What a record says of itself."""
    return record.body if isinstance(record, UpdateEnvelope) else record


def _failures(reader: _Reader, keys: Iterable[tuple[str, RecordKey]]) -> Iterator[FailureRecord]:
    """Failed attempts; that there is a record says so, whatever it says."""
    for key, said in keys:
        record = reader.one(key, said, FailureRecord, reader.content(key))
        yield record or FailureRecord(
            job_uid=reader.uid,
            round=said.round,
            attempt=said.attempt,
            reason=RECORD_DAMAGED,
            message=f"{key} is damaged: why attempt {said.attempt} failed is not known any more",
            at=0.0,
        )


def _evaluations(
    reader: _Reader, found: list[tuple[str, StoreKey]], commits: list[CommitRecord], *, finished: bool
) -> list[EvaluationRecord]:
    """Evaluations that commits are bound to, without what each site said; of a finished job also that of its last model."""
    bound = {commit.round - 1: commit.evaluation_sha256 for commit in commits if commit.evaluation_sha256}
    read: dict[int, EvaluationRecord] = {}
    there = {k: s for k, s in found if isinstance(s, RecordKey) and s.name == EVALUATION}
    for key, data in many.mapped(reader.store, reader.store.get, there):
        said = there[key]
        if hashlib.sha256(data).hexdigest() == bound.get(said.round):
            with readable(key):
                record = EvaluationRecord.bound(data)
            read[said.round] = record.model_copy(update={"clients": {}, "client_samples": {}})
        elif finished and commits and said.round == commits[-1].round:
            newest = reader.one(key, said, EvaluationRecord, data)
            read |= {said.round: newest} if newest else {}  # of several, that of the newest epoch
    for round_ in sorted(bound.keys() - read.keys()):
        beside = ", ".join(key for key, _ in _named(found, round_, EVALUATION))
        what = (
            f"no record of round {round_} has the SHA-256 {bound[round_]} that is committed: go on without its metrics"
        )
        reader.damages.append(Damage(beside or f"{EVALUATION} of round {round_}", what))
    return [read[round_] for round_ in sorted(read)]


def _tip_selected(reader: _Reader, found: list[tuple[str, StoreKey]], tip: CommitRecord | None) -> int:
    if tip is None:
        return 0
    plans = reader.all(_named(found, tip.round, PLAN), PlanRecord)
    return max((window.asked(plan) for plan in plans if plan.attempt == tip.attempt), default=0)


def _named(found: Iterable[tuple[str, StoreKey]], round_: int, name: str) -> Iterator[tuple[str, RecordKey]]:
    return ((k, s) for k, s in found if isinstance(s, RecordKey) and (s.round, s.name) == (round_, name))


def _is_open(said: ManifestKey, head: Head, looks_back: bool) -> bool:
    """Whether an update may be part of the round after HEAD."""
    return said.round == head.round + 1 or (looks_back and said.round <= head.round)


def _is(said: StoreKey, kind: type[StoreKey], round_: int) -> bool:
    return isinstance(said, kind) and said.round == round_


def _order(found: tuple[str, StoreKey]) -> tuple[int, int, int, str]:
    """By round, epoch and attempt as numbers: epoch 10 comes after epoch 2."""
    key, said = found
    return said.round, getattr(said, "epoch", 0), getattr(said, "attempt", 0), key
