"""Which backups go, and the content that none needs any more. Called by create.py after a backup that is whole.

Marked is what any backup that stays refers to, readable or not yet forgotten; swept is the rest, and only while nobody
makes a backup: what is being copied is in no manifest yet.
"""

import logging
from collections.abc import Sequence

from fedapi.wire.message import NewerRecordError
from fedbackup.archive import Archive, Clock
from fedbackup.errors import NotRestorableError

log = logging.getLogger(__name__)


def doomed(names: Sequence[str], keep_last: int, verified: str | None) -> list[str]:
    """Of the backups, oldest first, those that go. The last one that was verified stays, however many came after it."""
    return [name for name in names[: max(0, len(names) - keep_last)] if name != verified]


def applied(archive: Archive, keep_last: int, own: str, clock: Clock) -> int:
    """Forgets old backups and sweeps; how many objects were deleted."""
    gone = doomed(archive.names(), keep_last, _verified(archive))
    for name in gone:
        archive.forget(name)
    return _swept(archive, own, clock)


def _verified(archive: Archive) -> str | None:
    """The last backup of which a restore was proven."""
    keys = (found.backup for _, found in archive.evidence() if found.result == "Verified")
    names = {archive.manifest_key(name): name for name in archive.names()}
    return next((names[key] for key in keys if key in names), None)


def _swept(archive: Archive, own: str, clock: Clock) -> int:
    with archive.at_work("sweep", clock) as sweep:
        if archive.others("create", own, clock) or archive.others("sweep", sweep, clock):
            log.info("nothing is swept: another backup of this job is at work")
            return 0
        try:
            needed = {entry.sha256 for name in archive.names() for entry in archive.read(name).manifest.entries}
        except (NotRestorableError, NewerRecordError) as error:
            log.warning(
                "nothing is swept: what a backup needs cannot be read", extra={"fields": {"reason": str(error)}}
            )
            return 0
        superfluous = sorted(archive.content() - needed)
        for sha256 in superfluous:
            archive.store.delete(archive.object_key(sha256))
        return len(superfluous)
