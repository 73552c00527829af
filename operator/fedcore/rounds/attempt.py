"""One attempt of the round under way: its plan, and what has come of it. Pure; a part of the state."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from fedapi.wire.plan import PlanRecord
from fedapi.wire.update import UpdateManifest
from fedcore.rounds.exchange import Exchange


@lru_cache(maxsize=4)
def _as_set(names: tuple[str, ...]) -> frozenset[str]:
    """Those of a plan: asked for with every update of its attempt."""
    return frozenset(names)


@dataclass(frozen=True)
class Attempt:
    """One attempt of the round under way."""

    plan: PlanRecord
    quorum: int  # updates needed
    wanted: int  # updates that close it
    grace_s: float | None
    max_samples: int  # what one site may claim
    deadline_at: float
    max_staleness: int | None = None  # in asynchronous rounds: how many commits old an update's base may be
    accepted: Mapping[str, UpdateManifest] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)  # site -> reason, this attempt
    quorum_at: float | None = None
    lost_s: float = 0.0  # trained in vain by sites that failed, began anew, or came too late
    anew: Mapping[str, float] = field(default_factory=dict)  # sites that began anew, and when
    closed: tuple[str, ...] | None = None  # sites whose updates are folded, once that is decided
    reopened: int = 0  # how often, by this process, because accepted updates were damaged
    secure: Exchange | None = None  # where the sum alone is seen

    @cached_property
    def pending(self) -> frozenset[str]:
        """Selected sites that have neither delivered nor failed."""
        return _as_set(self.plan.selected).difference(self.accepted, self.failed)

    @property
    def here(self) -> Collection[str]:
        """Sites that have trained, as far as the close goes by them: with an update, or where the sum alone is seen an advertisement."""
        return (
            self.accepted.keys() if self.secure is None else self.secure.hub.advertisements.keys() - self.failed.keys()
        )

    def waits_for(self, client: str) -> bool:
        """Whether a site has a part in it that is not over."""
        if self.secure is None:
            return client in self.pending
        return client not in self.failed and self.secure.told(client) != "Over"

    def enough(self, accepted: Collection[str]) -> bool:
        """Whether these updates are a quorum; of a strategy that trusts one client, with that one's."""
        root = self.plan.strategy.root
        return len(accepted) >= self.quorum and (not root or root in accepted)

    def selected(self, client: str) -> bool:
        """Whether the plan names that site."""
        return client in self.pending or client in self.accepted or client in self.failed
