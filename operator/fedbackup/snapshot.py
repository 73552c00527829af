"""What belongs to a backup: HEAD as it was read once, and all that it reaches. Blocking; reads records, never models.

Called by create.py. The aggregator goes on meanwhile: what it writes later is not reached, and what its history deletes is
noticed when it is copied. Records are written once: those that an earlier backup has are not read again.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from fedapi.wire import storekey
from fedapi.wire.commit import CommitRecord
from fedapi.wire.layout import SITE_EVALUATION, Layout
from fedapi.wire.message import DamagedRecordError, NewerRecordError, ObjectRef, Record
from fedapi.wire.plan import PlanRecord
from fedapi.wire.siteevaluation import SiteEvaluationRecord
from fedapi.wire.store import CloseRecord, EvaluationRecord, FailureRecord, Head
from fedapi.wire.storekey import RecordKey
from fedbackup import copying, manifest
from fedbackup.copying import SOURCE, DamagedContentError
from fedbackup.errors import NotBackedUpError, Reason, told
from fedbackup.manifest import Entry, Recorded
from fedcore.ledger.tiles import CHECKPOINT, PARTIAL
from fedstore import history, many
from fedstore.errors import HistoryDamagedError, MissingError
from fedstore.history import Link
from fedstore.objectstore import ObjectStore

BESIDE = ("ledger", "logs", "checkpoints")  # of a job, archived as they are where there are any
WAY_OUT = "put it back from a copy or an older backup, or run `fedloom store repair`"
_EVALUATION = "evaluation.json"
_KINDS: Mapping[str, type[Record]] = {
    "plan.json": PlanRecord,
    "close.json": CloseRecord,
    "failure.json": FailureRecord,
    _EVALUATION: EvaluationRecord,
    SITE_EVALUATION: SiteEvaluationRecord,
}


@dataclass(frozen=True)
class Item:
    """An object to be archived: where it is, what it should be, and whether there is no backup without it."""

    path: str
    ref: ObjectRef
    needed: bool = False
    data: bytes | None = None  # of what lies in no store


@dataclass
class Snapshot:
    """Of one HEAD."""

    head: Head
    tip: CommitRecord
    items: list[Item] = field(default_factory=list)
    models: list[int] = field(default_factory=list)  # rounds
    recorded: Recorded | None = None
    warm: set[str] = field(
        default_factory=set
    )  # paths of what the last rounds have committed, and of what was measured
    damaged: dict[str, str] = field(default_factory=dict)  # by path: records that are not what was written


def head_of(store: ObjectStore, layout: Layout) -> tuple[Head, bytes]:
    """HEAD and its bytes. NotBackedUpError when nothing is committed: an empty backup is none."""
    found = read_head(store, layout)
    if found is None or found.round < 0:
        where = f"{layout.namespace}/{layout.name} ({layout.uid})"
        text = f"no model of {where} is committed in this store: nothing was archived; is it the right store?"
        raise NotBackedUpError(Reason.NOTHING_COMMITTED, text)
    return found, found.sealed().canonical()


def read_head(store: ObjectStore, layout: Layout) -> Head | None:
    """HEAD, None in a new store."""
    with told(SOURCE), _readable():
        found = history.read_head(store, layout)
    return found[0] if found else None


def taken(store: ObjectStore, layout: Layout, keep: int | None, known: Mapping[str, Entry]) -> Snapshot:
    """What HEAD reaches now. `keep`: rounds whose models must be there, all for None; `known`: of the last backup, by path."""
    head, data = head_of(store, layout)
    with told(SOURCE), _readable():
        links = list(_without_participants(store, layout, head))
        found = Snapshot(head, links[0].record)
        found.items.append(_bytes(manifest.HEAD, data))
        found.items += [_item(layout, ObjectRef(key=k, sha256=d, size=s), needed=True) for k, d, s, _ in links]
        _add_content(store, layout, found, links, keep)
        _add_records(store, layout, found, known)
        _add_beside(store, layout, found, known)
        found.recorded = _recorded(store, layout, found, links)
        last = {found.head.round, found.head.round - 1, found.recorded.round if found.recorded else -1}
        found.warm = {
            item.path for item in _content(layout, [link.record for link in links if link.record.round in last])
        }
    return found


def _without_participants(store: ObjectStore, layout: Layout, head: Head) -> Iterator[Link]:
    """The chain, newest first: a thousand participants a round are 1.4 MiB."""
    for link in history.chain(store, layout, head):
        yield link._replace(record=link.record.model_copy(update={"participants": ()}))


def _add_content(store: ObjectStore, layout: Layout, found: Snapshot, links: list[Link], keep: int | None) -> None:
    """Models and hub states: those that the history must keep, and what else is there."""
    there = {key for prefix in (layout.models(), layout.hub_states()) for key in store.keys(f"{prefix}/")}
    seen = set()
    for number, (*_, commit) in enumerate(links):
        expected = keep is None or number < keep
        for ref in commit.objects:
            if ref.key not in seen and (expected or ref.key in there):
                seen.add(ref.key)
                found.items.append(_item(layout, ref, needed=number == 0))
        if expected or commit.model.key in there:
            found.models.append(commit.round)
    found.models.sort()


def _content(layout: Layout, commits: Iterable[CommitRecord]) -> Iterator[Item]:
    for commit in commits:
        for ref in commit.objects:
            yield _item(layout, ref)


def _add_records(store: ObjectStore, layout: Layout, found: Snapshot, known: Mapping[str, Entry]) -> None:
    """Plans, closes, failures and evaluations of the rounds that are committed, those of single sites included."""
    there = {
        key: key.rpartition("/")[2]
        for key, said in history.beside(store, layout)
        if said.round <= found.head.round and key.rpartition("/")[2] in _KINDS
    }
    paths = {key: layout.inside(key) or key for key in there}
    for key, path in paths.items():
        if path in known:
            ref = ObjectRef(key=key, sha256=known[path].sha256, size=known[path].size)
            found.items.append(_item(layout, ref))
    for key, data in many.mapped(store, store.get, [key for key, path in paths.items() if path not in known]):
        try:
            _KINDS[there[key]].stored(data)
        except DamagedRecordError as error:
            found.damaged[paths[key]] = str(error)
        else:
            ref = ObjectRef(key=key, sha256=manifest.digest(data), size=len(data))
            found.items.append(_item(layout, ref))


def _add_beside(store: ObjectStore, layout: Layout, found: Snapshot, known: Mapping[str, Entry]) -> None:
    """What else the job keeps: its digest is in no chain of ours, and is measured."""
    checkpoint = store.head(layout.ledger(CHECKPOINT))  # before the tiles that it reaches are listed
    if checkpoint is not None:
        found.items.append(_bytes(f"ledger/{CHECKPOINT}", checkpoint.data))
    for kind in BESIDE:
        for key in store.keys(layout.at(f"{kind}/")):
            path = layout.inside(key) or key
            if key == layout.ledger(CHECKPOINT):
                continue
            if kind == "ledger" and PARTIAL in key:  # it is deleted once a wider one has replaced it
                with suppress(MissingError):
                    found.items.append(_bytes(path, store.get(key)))
                continue
            if path in known:
                ref = ObjectRef(key=key, sha256=known[path].sha256, size=known[path].size)
                found.items.append(_item(layout, ref))
                continue
            with suppress(DamagedContentError):  # a log that was put away meanwhile
                found.items.append(_item(layout, copying.measured(copying.End(store, SOURCE), key)))


def _recorded(store: ObjectStore, layout: Layout, found: Snapshot, links: list[Link]) -> Recorded | None:
    """What sites measured of the newest model that is archived and was measured."""
    bound = {link.record.round - 1: link.record.evaluation_sha256 for link in links if link.record.evaluation_sha256}
    models = {link.record.round: link.record.model.sha256 for link in links}
    records = [item for item in found.items if item.path.endswith(f"/{_EVALUATION}")]
    by_round = sorted(records, key=lambda item: _round(layout, item.ref.key), reverse=True)
    for item in by_round:
        round_ = _round(layout, item.ref.key)
        last = found.head.finished is not None and round_ == found.head.round
        if round_ not in found.models or not (last or bound.get(round_) == item.ref.sha256):
            continue
        with suppress(DamagedRecordError, MissingError):
            said = EvaluationRecord.stored(store.get(item.ref.key))
            if said.metrics and said.model_sha256 == models.get(round_):
                return Recorded(
                    round=round_, model_sha256=said.model_sha256, metrics=said.metrics, samples=said.samples
                )
    return None


def _round(layout: Layout, key: str) -> int:
    said = storekey.parsed(layout, key)
    return said.round if isinstance(said, RecordKey) else -1


def _item(layout: Layout, ref: ObjectRef, *, needed: bool = False) -> Item:
    return Item(layout.inside(ref.key) or ref.key, ref, needed)


def _bytes(path: str, data: bytes) -> Item:
    return Item(path, ObjectRef(key=path, sha256=manifest.digest(data), size=len(data)), needed=True, data=data)


@contextmanager
def _readable() -> Iterator[None]:
    """Names what of the history cannot be read."""
    try:
        yield
    except HistoryDamagedError as error:
        raise NotBackedUpError(Reason.SOURCE_DAMAGED, f"{error}: {WAY_OUT}") from error
    except NewerRecordError as error:
        raise NotBackedUpError(Reason.VERSION_TOO_OLD, str(error)) from error
