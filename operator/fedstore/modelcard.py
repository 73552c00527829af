"""What a job's model is made of, as a model card: derived from the records alone, so that whoever reads them has the same card.

Called by the aggregator, which keeps the card of a finished job beside its history, and by `fedloom model card`. Reads only,
and blocks; errors are those of history.py. Its page for people is made by cardpage.py. No clock and no name of this process is in it.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from fedapi.wire.commit import CommitRecord
from fedapi.wire.layout import Layout
from fedapi.wire.message import DamagedRecordError, NewerRecordError
from fedapi.wire.plan import PlanRecord
from fedapi.wire.privacy import RecordPrivacy
from fedapi.wire.secureround import FIELDS
from fedapi.wire.store import Head, RestoreRecord
from fedstore import history, historyrows
from fedstore.errors import MissingError
from fedstore.history import Readable
from fedstore.historyrows import Measured, Row

FORMAT = "fedloom.dev/model-card/v1"
PLAN, RESTORED = "plan.json", "restored.json"
_OF_RECORDS = "record_privacy"  # of all sites' records, by what the sites say with their updates
RECORDS = (*historyrows.RECORDS, PLAN, RESTORED)  # names of those that a card is made of


@dataclass(frozen=True)
class Site:
    """A site with an update in the model. Samples are what it claimed."""

    name: str
    rounds: int  # with an update of it in the model
    first_round: int
    last_round: int
    samples: int  # of its last update


@dataclass(frozen=True)
class Measurement:
    """Metrics of the model of one round, and who measured them."""

    round: int
    metrics: Mapping[str, float]  # means, weighted by samples
    samples: int
    sites: int


@dataclass(frozen=True)
class Card:
    """The card. What the last plan decided is told as the plan has it; an earlier one may have had other numbers."""

    format: str
    namespace: str
    job: str
    uid: str
    lineage: tuple[str, ...]  # uids of the jobs that it goes on from, by a restore
    result: str  # Succeeded, Failed; empty: it goes on
    reason: str
    finished: str  # when, RFC 3339; empty: it goes on
    round: int
    model_sha256: str
    model_bytes: int
    model_key: str
    initial_sha256: str  # of the file with what does not travel; empty: all does
    began: str  # the initial model was committed
    committed: str  # this model was
    rounds: int  # with updates in the model
    skipped: int  # without
    taken_back: int  # of which nothing is in the model, by a rollback
    sites: tuple[Site, ...]
    missed: Mapping[str, int]  # selections of a site that brought no update into the model
    settings: Mapping[
        str, Any
    ]  # strategy, selection, training, compression, clientEncryption, quorum, how updates are summed
    evaluation: Measurement | None
    held_out: Measurement | None
    images: tuple[str, ...]
    restored_from: str  # the backup's manifest
    bound: Mapping[str, Any]  # what the commits bind beside rounds, the newest that says it: privacy, ledger
    commit_sha256: str  # the head of the chain of commits, by which every record here is bound

    def text(self) -> str:
        """As JSON: the same card gives the same bytes."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def card(store: Readable, layout: Layout) -> Card:
    """The card of the last committed model. MissingError where there is none yet."""
    found = history.read_head(store, layout)
    if found is None or found[0].commit_sha256 is None:
        raise MissingError("no model is committed yet: run the job first")
    head, made = found[0], _Made()
    for commit in history.links(store, layout, head):
        made.add(commit)
    last = made.newest
    evaluation, held_out = _measured(historyrows.newest_first(store, layout))
    return Card(
        format=FORMAT,
        namespace=layout.namespace,
        job=layout.name,
        uid=layout.uid,
        lineage=head.lineage,
        result=head.finished or "",
        reason=head.reason,
        finished=_time(head.finished_at) if head.finished_at is not None else "",
        round=last.round,
        model_sha256=last.model.sha256,
        model_bytes=last.model.size,
        model_key=last.model.key,
        initial_sha256=last.initial.sha256 if last.initial else "",
        began=_time(made.oldest.committed_at),
        committed=_time(last.committed_at),
        rounds=made.rounds,
        skipped=made.skipped,
        taken_back=made.taken_back,
        sites=tuple(made.sites[name] for name in sorted(made.sites)),
        missed=dict(sorted(made.missed.items())),
        settings=_settings(store, layout, made.planned),
        evaluation=evaluation,
        held_out=held_out,
        images=tuple(sorted(made.images)),
        restored_from=_restored_from(store, layout, head),
        bound={name: said for name, said in made.bound.items() if name != "privacy" or not made.unbounded}
        | made.of_records(),
        commit_sha256=head.commit_sha256 or "",
    )


class _Made:
    """What the chain tells, newest commit first: what a rollback took back is not in the model."""

    newest: CommitRecord
    oldest: CommitRecord

    def __init__(self) -> None:
        self.sites: dict[str, Site] = {}
        self.missed: dict[str, int] = {}
        self.images: set[str] = set()
        self.rounds = self.skipped = self.taken_back = 0
        self.planned: CommitRecord | None = None  # the last with updates in the model
        self.bound: dict[str, Any] = {}
        self.unbounded = False  # a round, taken back or not, had no noise: then no epsilon is of all models
        self._records: dict[
            str, RecordPrivacy | None
        ] = {}  # by site, the most that an update of it says; None: an update did not
        self._back_to: int | None = None

    def add(self, commit: CommitRecord) -> None:
        """The next one."""
        if not hasattr(self, "newest"):
            self.newest = commit
        self.oldest = commit
        # What a rollback took back has been told and spent all the same.
        for name, said in (("privacy", commit.privacy), ("ledger", commit.ledger)):
            if name not in self.bound and said is not None:
                self.bound[name] = said.model_dump(mode="json", exclude_none=True)
        self.unbounded |= bool(commit.participants) and commit.privacy is None
        for each in commit.participants:
            most = self._records.setdefault(each.client, each.privacy)
            self._records[each.client] = (
                each.privacy and most and max(each.privacy, most, key=lambda said: said.epsilon)
            )
        if self._back_to is not None and commit.round > self._back_to:
            self.taken_back += bool(commit.participants)
            return
        self._back_to = commit.rolled_back_to
        if commit.rolled_back_to is None:
            self._counted(commit)

    def of_records(self) -> dict[str, Any]:
        """What is told of one record of a site at most; nothing where a site has not said it."""
        told = [(said.epsilon, name, said) for name, said in self._records.items() if said is not None]
        if not told or len(told) < len(self._records):
            return {}
        _, name, most = max(told, key=lambda each: each[:2])
        return {_OF_RECORDS: {**most.model_dump(mode="json"), "site": name}}

    def _counted(self, commit: CommitRecord) -> None:
        for name in commit.missed:
            self.missed[name] = self.missed.get(name, 0) + 1
        self.images |= {commit.image} - {""}
        self.skipped += bool(commit.skipped)
        if not commit.participants:
            return
        self.rounds += 1
        self.planned = self.planned or commit
        for each in commit.participants:
            newer = self.sites.get(each.client)
            of = newer or Site(each.client, 0, commit.round, commit.round, each.samples)
            self.sites[each.client] = Site(each.client, of.rounds + 1, commit.round, of.last_round, of.samples)


def _settings(store: Readable, layout: Layout, commit: CommitRecord | None) -> dict[str, Any]:
    """What the plan of a commit decided; nothing where it is not there any more."""
    if commit is None:
        return {}
    key = layout.record(commit.round, commit.epoch, commit.attempt, PLAN)
    try:
        plan = PlanRecord.stored(store.get(key))
    except (DamagedRecordError, MissingError):
        return {}
    except NewerRecordError as error:
        raise NewerRecordError(f"{key}: {error}") from error
    told = plan.model_dump(
        mode="json",
        exclude_none=True,
        include={
            **dict.fromkeys(
                ("strategy", "selection", "training", "compression", "quorum", "privacy", "site_noise"), True
            ),
            "secure": {"threshold", "colluding", "minimum_cohort", "scheme", "value_range", "overflow"},
        },
        exclude={"privacy": {"row": {"earlier"}}},
    )
    if plan.secure is not None:
        told[FIELDS[plan.secure.scheme].rpartition(".")[2]] = told.pop("secure")
    client_encryption = plan.encryption or "None"
    return {**told, "codec": plan.codec, "clientEncryption": client_encryption, "selected": len(plan.selected)}


def _measured(newest_first: Iterable[Row]) -> tuple[Measurement | None, Measurement | None]:
    """By the sites that train and by the held-out ones, of the newest round of which there is something."""
    for row in newest_first:
        if row.evaluation or (row.held_out and row.held_out.metrics):
            return _measurement(row, row.evaluation), _measurement(row, row.held_out)
    return None, None


def _measurement(row: Row, said: Measured | None) -> Measurement | None:
    if said is None or not said.metrics:
        return None
    return Measurement(row.round, dict(sorted(said.metrics.items())), said.samples, len(said.sites))


def _restored_from(store: Readable, layout: Layout, head: Head) -> str:
    if not head.lineage:
        return ""
    try:
        return RestoreRecord.stored(store.get(layout.restored)).backup
    except (DamagedRecordError, MissingError):
        return ""


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
