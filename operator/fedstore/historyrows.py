"""What happened in each round of a job, as rows: derived from its records alone, so that whoever reads them has the same rows.

Called by the aggregator, which keeps them as JSON lines beside the models, and by `fedloom history`. Reads only, and blocks;
errors are those of history.py. What one site measured outside of training counts, whenever it came.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import chain
from typing import TypeVar

from fedapi.wire.commit import CommitRecord
from fedapi.wire.layout import SITE_EVALUATION, Layout
from fedapi.wire.message import DamagedRecordError, NewerRecordError, Record
from fedapi.wire.metrics import Metrics
from fedapi.wire.siteevaluation import SiteEvaluationRecord
from fedapi.wire.store import EvaluationRecord, FailureRecord
from fedapi.wire.storekey import RecordKey, SiteEvaluationKey, StoreKey
from fedcore.rounds import evaluation
from fedstore import history, many
from fedstore.errors import MissingError
from fedstore.history import Readable

EVALUATION, FAILURE = "evaluation.json", "failure.json"
RECORDS = (history.COMMIT, EVALUATION, FAILURE, SITE_EVALUATION)  # names of those that rows are made of
_M = TypeVar("_M", bound=Record)


@dataclass(frozen=True)
class Measured:
    """Metrics of a round's model at some sites."""

    metrics: Metrics  # means over the sites, weighted by their samples
    samples: int
    sites: Mapping[str, Metrics] = field(default_factory=dict)
    site_samples: Mapping[str, int] = field(default_factory=dict)
    missing: tuple[str, ...] = ()  # held-out sites without a word


@dataclass(frozen=True)
class Row:
    """A committed round. Bytes are those of files: of the participants' updates, and of the models that they fetched for them."""

    round: int
    attempt: int
    time: str  # of the commit, RFC 3339
    seconds: float  # from the plan to the commit
    model_sha256: str
    participants: tuple[str, ...]
    samples: int
    missed: tuple[str, ...]  # selected sites without an update in it
    failed_attempts: tuple[str, ...]  # why each came to nothing
    bytes_up: int | None  # unknown of rounds that an older version committed
    bytes_down: int
    rolled_back_to: int | None
    skipped: str
    anomalies: Mapping[str, str]  # by site what is anomalous about its update, in any attempt
    norms: Mapping[str, float]  # lengths of updates in the round, by site, where they are judged
    cosines: Mapping[str, float]  # of them to the mean direction of the others, where directions are looked at
    training: Metrics  # as the sites' trainings report them, weighted by their samples
    evaluation: Measured | None  # by the sites that train
    held_out: Measured | None  # by those that are held out
    requested: Measured | None  # by sites that train, because it was asked for
    epsilon: float | None = None  # of one site, at spec.privacy's delta, what all rounds up to this one have spent

    record_epsilon: float | None = (
        None  # of one record, at spec.privacy.dpSGD's delta: the largest of the round's sites
    )

    def line(self) -> str:
        """As a line of JSON: the same row gives the same bytes."""
        return json.dumps(asdict(self), separators=(",", ":"), ensure_ascii=False)


def rows(store: Readable, layout: Layout, most_sites: int | None = None) -> list[Row]:
    """Every committed round, oldest first. `most_sites`: of so many at most is told in each row what each has measured."""
    return [*newest_first(store, layout, most_sites)][::-1]


def newest_first(store: Readable, layout: Layout, most_sites: int | None = None) -> Iterator[Row]:
    """The same, one at a time: with many sites each is large."""
    found = history.read_head(store, layout)
    if found is None:
        return
    beside = _Beside.of(store, layout)
    newer: CommitRecord | None = None
    commit: CommitRecord | None = None
    for older in chain(history.links(store, layout, found[0]), (None,)):  # three of them are in memory
        if commit is not None:
            yield _row(beside, commit, older, newer, most_sites)
        newer, commit = commit, older


@dataclass(frozen=True)
class _Beside:
    """The records of the rounds but the commits, by round."""

    store: Readable
    evaluations: Mapping[int, list[str]]
    failures: Mapping[int, list[str]]
    measured: Mapping[int, list[tuple[str, SiteEvaluationKey]]]

    @classmethod
    def of(cls, store: Readable, layout: Layout) -> "_Beside":
        evaluations: dict[int, list[str]] = {}
        failures: dict[int, list[str]] = {}
        measured: dict[int, list[tuple[str, SiteEvaluationKey]]] = {}
        for key, said in sorted(history.beside(store, layout), key=_by_epoch):
            if isinstance(said, SiteEvaluationKey):
                measured.setdefault(said.round, []).append((key, said))
            elif isinstance(said, RecordKey) and said.name in (EVALUATION, FAILURE):
                (evaluations if said.name == EVALUATION else failures).setdefault(said.round, []).append(key)
        return cls(store, evaluations, failures, measured)

    def evaluation(self, commit: CommitRecord, newer: CommitRecord | None) -> EvaluationRecord | None:
        """The one that the next commit is bound to; of the last round, the newest."""
        for key, data in self._read(self.evaluations.get(commit.round, [])[::-1]):
            if newer is None:
                record = _stored(key, data, EvaluationRecord)
                if record is not None and record.model_sha256 == commit.model.sha256:
                    return record
            elif hashlib.sha256(data).hexdigest() == newer.evaluation_sha256:
                return _stored(key, data, EvaluationRecord)
        return None

    def failed(self, commit: CommitRecord) -> tuple[str, ...]:
        """Why attempts came to nothing, oldest first: each once, whichever aggregator recorded it."""
        read = (_stored(key, data, FailureRecord) for key, data in self._read(self.failures.get(commit.round, [])))
        said = {record.attempt: record.reason for record in read if record is not None}
        return tuple(said[attempt] for attempt in sorted(said))

    def site_evaluations(self, commit: CommitRecord) -> list[SiteEvaluationRecord]:
        """What sites measured of that model outside of training, by name."""
        keys = [key for key, said in self.measured.get(commit.round, []) if said.model_sha256 == commit.model.sha256]
        read = (_stored(key, data, SiteEvaluationRecord) for key, data in self._read(keys))
        return sorted((record for record in read if record is not None), key=lambda each: each.client)

    def _read(self, keys: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        for key, data in many.mapped(self.store, self._content, keys):
            if data is not None:
                yield key, data

    def _content(self, key: str) -> bytes | None:
        with suppress(MissingError):
            return self.store.get(key)
        return None


def _by_epoch(found: tuple[str, StoreKey]) -> tuple[int, int, int, str]:
    key, said = found
    return said.round, getattr(said, "epoch", 0), getattr(said, "attempt", 0), key


def _stored(key: str, data: bytes, kind: type[_M]) -> _M | None:
    """None where it is not what was written: the round happened all the same."""
    try:
        return kind.stored(data)
    except DamagedRecordError:
        return None
    except NewerRecordError as error:
        raise NewerRecordError(f"{key}: {error}") from error


def _row(
    beside: _Beside, commit: CommitRecord, older: CommitRecord | None, newer: CommitRecord | None, most: int | None
) -> Row:
    sent = [each.sent_bytes for each in commit.participants]
    base = older.model.size if older else 0
    fetched = base if commit.broadcast_bytes is None else commit.broadcast_bytes
    record = beside.evaluation(commit, newer)
    missing = record.held_out_missing if record else ()
    others = beside.site_evaluations(commit)
    return Row(
        round=commit.round,
        attempt=commit.attempt,
        time=datetime.fromtimestamp(commit.committed_at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        seconds=round(commit.committed_at - commit.planned_at, 3),
        model_sha256=commit.model.sha256,
        participants=tuple(each.client for each in commit.participants),
        samples=commit.total_samples,
        missed=commit.missed,
        failed_attempts=beside.failed(commit),
        bytes_up=None if None in sent else sum(size for size in sent if size is not None),
        bytes_down=len(sent) * fetched,
        rolled_back_to=commit.rolled_back_to,
        skipped=commit.skipped,
        anomalies={each.client: each.text for each in commit.anomalies},
        norms={each.client: each.norm for each in commit.participants[:most] if each.norm is not None},
        cosines={each.client: each.cosine for each in commit.participants[:most] if each.cosine is not None},
        training=commit.training_metrics,
        evaluation=None if record is None else _trained(record, most),
        held_out=_apart([each for each in others if each.held_out], missing, most),
        requested=_apart([each for each in others if not each.held_out], (), most),
        epsilon=commit.privacy.epsilon if commit.privacy else None,
        record_epsilon=max((each.privacy.epsilon for each in commit.participants if each.privacy), default=None),
    )


def _trained(record: EvaluationRecord, most: int | None) -> Measured:
    sites = sorted(record.clients)[:most]
    return Measured(
        record.metrics,
        record.samples,
        {client: record.clients[client] for client in sites},
        {client: record.client_samples.get(client, 0) for client in sites},
    )


def _apart(records: list[SiteEvaluationRecord], missing: Iterable[str], most: int | None) -> Measured | None:
    """Who is told to be missing may have said so later."""
    left = tuple(sorted(set(missing).difference(record.client for record in records)))
    if not records and not left:
        return None
    return Measured(
        evaluation.weighted_mean((record.samples, record.metrics) for record in records),
        evaluation.total(record.samples for record in records),
        {record.client: record.metrics for record in records[:most]},
        {record.client: record.samples for record in records[:most]},
        left[:most],
    )
