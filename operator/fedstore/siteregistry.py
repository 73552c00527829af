"""The port of a registry of sites: who was heard from when. Adapters: memory_sites.py, dynamodb.py.

One contract suite runs over all adapters (tests/contract/fedstore/test_siteregistry_contract.py). An older heartbeat never
replaces a newer one, whatever the order in which they come, and a site costs at most one write a minute.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

from fedapi.names import SITE_EXPIRES_S, SITE_LEASE_ACTIVE_S, SITE_LEASE_RENEW_S
from fedapi.wire.registry import Claims

State = Literal["Active", "Inactive", "Expired"]
WRITTEN_EVERY_S = SITE_LEASE_RENEW_S


@dataclass(frozen=True)
class Registered:
    """What is known of a site."""

    client_id: str
    last_seen: float  # seconds since the epoch
    claims: Claims

    def state(self, now: float) -> State:
        """By the clock, not by what was written last."""
        silent_s = now - self.last_seen
        if silent_s < SITE_LEASE_ACTIVE_S:
            return "Active"
        return "Inactive" if silent_s < SITE_EXPIRES_S else "Expired"


class SiteRegistry(Protocol):
    """Where heartbeats go. Every method may block; StoreError when the medium fails."""

    def heard(self, client_id: str, claims: Claims, at: float) -> bool:
        """Takes in a heartbeat; whether it was written. One within a minute after the last written one is not."""

    def sites(self) -> Iterable[Registered]:
        """All that are kept, in no order, those included whose time is over but that `settle` has not removed yet."""

    def settle(self, now: float) -> tuple[Registered, ...]:
        """Writes that sites have become silent, removes those that have expired; the others. At rest it writes nothing."""
