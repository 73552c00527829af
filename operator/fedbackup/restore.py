"""Puts a backup into an empty store, under the job that is to go on from it: chain byte for byte, then a HEAD that names the lineage.

Called by __main__.py, verify.py and the command line. Every object is checked on its way. Killed at any point it is begun
again by the same call; until HEAD is there, nobody can take the half of it for a job.
"""

from dataclasses import dataclass

from fedapi.wire import storekey
from fedapi.wire.layout import Layout
from fedapi.wire.message import DamagedRecordError, NewerRecordError
from fedapi.wire.store import Head, RestoreRecord
from fedbackup import copying, freezing, manifest
from fedbackup.archive import Archive, Found
from fedbackup.archived import Archived
from fedbackup.copying import DESTINATION, TARGET, DamagedContentError, End
from fedbackup.errors import BadRequestError, NotRestorableError, Reason, told
from fedbackup.freezing import Thaw
from fedbackup.manifest import Entry
from fedstore import history, many
from fedstore.errors import HistoryDamagedError
from fedstore.objectstore import ObjectStore

PARTS = (
    "control",
    "models",
    "hubstate",
    "ledger",
    "checkpoints",
)  # what a store is restored from; logs and api/ are for people


@dataclass(frozen=True)
class Restored:
    """A store that a job can go on from."""

    head: Head
    objects: int
    bytes: int  # that were read
    waited_s: float  # for what was cold
    unread: int = 0  # objects of a cold class of which it was only seen that they are there
    was_there: bool = False  # this very restore had been done before


@dataclass(frozen=True)
class Request:
    """What is to be restored, and where to."""

    layout: Layout
    at: float
    round: int | None = None  # the last one that is in the backup
    rounds: int | None = None  # that the new job asks for
    content: frozenset[str] | None = (
        None  # paths of models and hub states that are kept; others are checked, cold ones seen
    )


def chosen(archive: Archive, name: str, target: ObjectStore, layout: Layout) -> Found:
    """A backup by name, else the one whose restore was begun, else the newest: a later one may have been made meanwhile."""
    with told(TARGET):
        begun = None if name else _begun(target, layout)
    with told(DESTINATION):
        if begun is not None:
            name = next((each for each in archive.names() if archive.manifest_key(each) == begun.backup), "")
        return archive.chosen(name)


def restored(archive: Archive, found: Found, target: ObjectStore, request: Request, thaw: Thaw) -> Restored:
    """The store of `request.layout` as the backup has it. NotRestorableError names what is wrong with the backup."""
    archived, layout = Archived(archive, found), request.layout
    head = _head(archived, archived.head_record(), request)
    with told(TARGET):
        if _is_there(target, request, found, head):
            return Restored(head, 0, 0, 0.0, was_there=True)
    entries = _entries(found, head)
    unread = [entry for entry in entries if entry.cold and not _is_kept(request, entry)]
    entries = [entry for entry in entries if not entry.cold or _is_kept(request, entry)]
    waited = freezing.thawed(archive, entries if request.content is None else [], thaw)
    done = _copied(archive, target, request, entries)
    _looked_for(archive, unread)
    with told(TARGET):
        try:
            for _ in history.links(target, layout, head):
                pass
        except (HistoryDamagedError, NewerRecordError) as error:
            raise NotRestorableError(Reason.BACKUP_DAMAGED, f"{found.key}: {error}") from error
        target.replace_head(layout.head, head.sealed().canonical(), None)
    return Restored(head, len(entries) + len(unread), done, waited, len(unread))


def _head(archived: Archived, head: Head, request: Request) -> Head:
    """HEAD of the restored store. A job that had ended ends again, unless it failed, or is asked for more."""
    old, new = archived.layout, request.layout
    lineage = tuple(uid for uid in (*head.lineage, old.uid) if uid != new.uid)
    links = {c.round: (key, sha256, c.model.key) for key, sha256, _, c in archived.links()}
    round_ = head.round if request.round is None else request.round
    kept = {number for number, (_, _, model) in links.items() if archived.size(model) is not None}
    if round_ not in kept:
        there = ", ".join(map(str, sorted(kept)))
        raise BadRequestError(Reason.NO_BACKUP, f"the model of round {round_} is not in the backup: there are {there}")
    key, sha256, _ = links[round_]
    update = {
        "round": round_,
        "commit_key": new.at(old.inside(key) or ""),
        "commit_sha256": sha256,
        "commit_signature": head.commit_signature if round_ == head.round else None,
        "lineage": lineage,
    }
    if round_ < head.round or head.finished == "Failed" or (request.rounds or 0) > round_:
        update |= {"finished": None, "reason": "", "message": "", "finished_at": None}
    return head.model_copy(update=update)


def _is_there(target: ObjectStore, request: Request, found: Found, head: Head) -> bool:
    """Whether this restore was done already. Begins it otherwise; BadRequestError when something else is there."""
    layout = request.layout
    now, begun = target.head(layout.head), _begun(target, layout)
    if begun is not None and begun.manifest_sha256 == found.sha256 and begun.round == head.round:
        return now is not None
    left = layout.head if now else next((key for key, _ in history.objects(target, layout)), "")
    if begun is not None or left:
        what = f"{layout.restored} is of {begun.backup}" if begun else f"there is {left}"
        text = f"the store of {layout.namespace}/{layout.name} ({layout.uid}) is not empty: {what}"
        raise BadRequestError(Reason.TARGET_NOT_EMPTY, f"{text}: restore into a new job, or another store")
    record = RestoreRecord(
        backup=found.key, manifest_sha256=found.sha256, lineage=head.lineage, round=head.round, at=request.at
    )
    target.put_once(layout.restored, record.sealed().canonical())
    return False


def _begun(target: ObjectStore, layout: Layout) -> RestoreRecord | None:
    if target.size(layout.restored) is None:
        return None
    try:
        return RestoreRecord.stored(target.get(layout.restored))
    except (DamagedRecordError, NewerRecordError) as error:
        raise BadRequestError(Reason.TARGET_NOT_EMPTY, f"{layout.restored}: {error}") from error


def _entries(found: Found, head: Head) -> list[Entry]:
    """Those that belong into a store, up to the round of HEAD."""
    layout = found.manifest.layout
    entries = (entry for entry in found.manifest.entries if entry.path.partition("/")[0] in PARTS)
    return [entry for entry in entries if entry.path != manifest.HEAD and _round(layout, entry) <= head.round]


def _round(layout: Layout, entry: Entry) -> int:
    said = storekey.parsed(layout, layout.at(entry.path))
    return said.round if said is not None else 0


def _copied(archive: Archive, target: ObjectStore, request: Request, entries: list[Entry]) -> int:
    """Bytes that were read. NotRestorableError names the first object that is damaged, and has them all."""
    source, to = End(archive.store, DESTINATION), End(target, TARGET)

    def put(entry: Entry) -> int | DamagedContentError:
        ref = archive.ref(entry)
        try:
            if _is_kept(request, entry):
                return copying.copied(source, ref, to, request.layout.at(entry.path))
            return copying.checked(source, ref)
        except DamagedContentError as error:
            return error

    done, damaged = 0, {}
    for entry, found in zip(entries, copying.together(put, entries), strict=True):
        if isinstance(found, DamagedContentError):
            damaged[entry.sha256] = f"{found.key}, which is {entry.path}: {found.what}"
        else:
            done += found
    if damaged:
        text = f"{len(damaged)} of {len(entries)} objects are damaged: {next(iter(damaged.values()))}"
        raise NotRestorableError(Reason.BACKUP_DAMAGED, f"{text}: restore an older backup", tuple(damaged))
    return done


def _looked_for(archive: Archive, entries: list[Entry]) -> None:
    """NotRestorableError where one is gone, or of another size."""
    with told(DESTINATION):
        sizes = many.mapped(archive.store, archive.store.size, [archive.object_key(entry.sha256) for entry in entries])
        lost = [entry for entry, (_, size) in zip(entries, sizes, strict=True) if size != entry.size]
    if lost:
        text = f"{len(lost)} objects of a cold class are lost or cut: {archive.object_key(lost[0].sha256)}, which is {lost[0].path}"
        raise NotRestorableError(Reason.BACKUP_DAMAGED, text, tuple(entry.sha256 for entry in lost))


def _is_kept(request: Request, entry: Entry) -> bool:
    return request.content is None or entry.path in request.content or entry.path.startswith("control/")
