"""Old models of a backup go to a cold class, and come back from it. Called by create.py and restore.py.

Cold is only what is rarely needed: models and hub states that neither the last two rounds have committed, nor a verification
measures. Records and HEAD stay where they can be read at once.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from fedbackup.archive import Archive, Clock
from fedbackup.copying import DESTINATION
from fedbackup.errors import BadRequestError, NotRestorableError, Reason, told
from fedbackup.manifest import Entry
from fedstore import many
from fedstore.coldness import cold_class

DAY_S = 86_400.0
_LOOK_S = 60.0


def frozen(archive: Archive, entries: list[Entry], after_days: int | None, now: float, warm: set[str]) -> list[Entry]:
    """The entries, those cold that are old enough. BadRequestError where the store has no cold class."""
    if after_days is None:
        return entries
    cold = cold_class(archive.store)
    if cold is None:
        text = "coldAfterDays: the backups' store has no cold class: leave it out, or back up to S3, GCS or Azure"
        raise BadRequestError(Reason.BAD_SETTINGS, text)
    stays = {entry.sha256 for entry in entries if entry.path in warm or not _is_large_kind(entry)}
    made = []
    for entry in entries:
        due = entry.sha256 not in stays and now - entry.since >= after_days * DAY_S
        if due and not entry.cold:
            cold.freeze(archive.object_key(entry.sha256))
        made.append(entry.model_copy(update={"cold": True}) if due else entry)
    return made


@dataclass(frozen=True)
class Thaw:
    """How a restore waits for what is cold."""

    patience_s: float
    clock: Clock
    pause: Callable[[float], None]
    say: Callable[[str], None]


def thawed(archive: Archive, entries: Iterable[Entry], thaw: Thaw) -> float:
    """Asks for what is cold and waits until it can be read; seconds. NotRestorableError when it takes too long.

    Models are asked about whether they were sent there by us or not: a rule of the bucket may have done it.
    """
    cold, began = cold_class(archive.store), thaw.clock()
    keys = {archive.object_key(entry.sha256) for entry in entries if _is_large_kind(entry)}
    if cold is None:
        return 0.0
    while True:
        with told(DESTINATION):
            keys = {key for key, there in many.mapped(archive.store, cold.thawed, sorted(keys)) if not there}
        waited = max(0.0, thaw.clock() - began)
        if not keys:
            return waited
        text = f"{len(keys)} objects are still in a cold class after {waited:.0f} s; a thaw takes {cold.thaw_takes}"
        if waited >= thaw.patience_s:
            raise NotRestorableError(Reason.STILL_COLD, f"{text}: it was asked for, try again later")
        thaw.say(text)
        thaw.pause(_LOOK_S)


def _is_large_kind(entry: Entry) -> bool:
    return entry.path.startswith(("models/", "hubstate/"))
