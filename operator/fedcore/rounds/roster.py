"""The sites of a job, found by name: what the configuration's roster says, indexed once per configuration. Pure.

Everything that is about rounds goes by `eligible`, which has no held-out site; those are looked at in heldout.py alone.

Held by the state, so that no request and no event looks through all sites.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from fedapi.wire.roster import RosterEntry

_KEEPS_PLACE = frozenset({"", "Paused", "NotReady"})  # why a site gets no new work, but may end what it has


@dataclass(frozen=True)
class Roster:
    """An indexed roster."""

    entries: tuple[RosterEntry, ...] = ()  # as configured
    by_name: Mapping[str, RosterEntry] = field(default_factory=dict)
    eligible: frozenset[str] = frozenset()  # may take part in new rounds
    held_out: frozenset[str] = frozenset()  # evaluate committed models and take part in no round
    staying: frozenset[str] = frozenset()  # may end the work that they have
    suspended: frozenset[str] = frozenset()  # their updates were anomalous: they get no new work

    @classmethod
    def of(cls, entries: tuple[RosterEntry, ...], suspended: frozenset[str] = frozenset()) -> "Roster":
        """The index of these entries."""
        by_name = {entry.name: entry for entry in entries}
        able = [entry for entry in entries if entry.eligible]
        eligible = frozenset(entry.name for entry in able if not entry.held_out) - suspended
        held_out = frozenset(entry.name for entry in able if entry.held_out)
        staying = frozenset(entry.name for entry in entries if entry.eligible or entry.reason in _KEEPS_PLACE)
        return cls(entries, by_name, eligible, held_out, staying, suspended)

    def lost(self, clients: Iterable[str]) -> dict[str, str]:
        """Those of some sites that will send nothing more, and why: they left the job, or their processes ended."""
        gone = sorted(frozenset(clients) - self.staying)
        return {name: self.by_name[name].reason if name in self.by_name else "left the job" for name in gone}
