"""The anomalies of a job, as its commits and failed attempts record them: the last ones, and whom they suspend. Pure.

Held by the state of the rounds. The chain of commits only grows, so that a restart, a rollback and a restore keep all of it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from fedapi.wire.anomalies import Anomaly, AnomalySettings

RECENT = 20  # that are told


@dataclass(frozen=True)
class Noted:
    """An anomaly, and when it was recorded."""

    round: int
    at: float
    anomaly: Anomaly


@dataclass(frozen=True)
class Record:
    """Anomalies of a job."""

    recent: tuple[Noted, ...] = ()  # newest first
    total: int = 0
    suspended: Mapping[str, Noted] = field(default_factory=dict)  # by site the last that suspends it

    def with_newer(self, round_: int, at: float, anomalies: Collection[Anomaly]) -> "Record":
        """With those of one more round, or of an attempt of one."""
        if not anomalies:
            return self
        new = [Noted(round_, at, anomaly) for anomaly in anomalies]
        suspended = {each.anomaly.client: each for each in new if each.anomaly.suspends}
        return replace(
            self,
            recent=(*new[::-1], *self.recent)[:RECENT],
            total=self.total + len(new),
            suspended={**self.suspended, **suspended},
        )

    def barred(self, settings: AnomalySettings | None) -> frozenset[str]:
        """Sites that are suspended now: since their last anomaly nobody has readmitted them. Nobody is where none are looked for."""
        if settings is None or not self.suspended:
            return frozenset()
        return frozenset(
            client for client, noted in self.suspended.items() if noted.round > settings.readmitted(client)
        )


NONE = Record()


@dataclass(frozen=True)
class Judged:
    """What became of the judgement of a round's updates: the length of each, its direction, and which are anomalous."""

    norms: Mapping[str, float] = field(default_factory=dict)
    anomalies: tuple[Anomaly, ...] = ()
    cosines: Mapping[str, float] = field(default_factory=dict)  # to the others, where directions are looked at

    @property
    def excluded(self) -> frozenset[str]:
        """Sites whose updates are left out."""
        return frozenset(site for anomaly in self.anomalies if anomaly.is_excluded for site in anomaly.owners)

    def norm_of(self, client: str) -> float | None:
        """The length of a site's update; None: it was not looked at."""
        return self.norms.get(client)


UNJUDGED = Judged()
