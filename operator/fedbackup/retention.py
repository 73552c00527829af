"""Which backups go, and the content that none needs any more. Called by create.py after a backup that is whole.

Marked is what any backup that stays refers to, readable or not yet forgotten; swept is the rest, and only while nobody
makes a backup: what is being copied is in no manifest yet.
"""

import logging
import time
from collections.abc import Sequence

from fedapi.wire.message import NewerRecordError
from fedbackup import archive as archives
from fedbackup.archive import SWEEP_S, Archive, Clock
from fedbackup.errors import NotRestorableError
from fedstore import many
from fedstore.disk import DiskStore

log = logging.getLogger(__name__)
_AT_ONCE = 64  # between two looks at the time


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
    began = time.monotonic()
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
        superfluous, done = sorted(archive.content() - needed), 0
        for at in range(0, len(superfluous), _AT_ONCE):
            if time.monotonic() - began > SWEEP_S:
                break
            keys = [archive.object_key(sha256) for sha256 in superfluous[at : at + _AT_ONCE]]
            many.delete(archive.store, keys)
            done += len(keys)
        if isinstance(archive.store, DiskStore) and archives.jobs(archive.store) == [archive.layout]:
            archive.store.clean()  # of half objects that killed backups left; a bucket's lifecycle rules do that
        return done
