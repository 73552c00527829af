"""A registry of sites in memory: what the others are compared with, and what tests of the endpoint use."""

import threading
from collections.abc import Iterable

from fedapi.wire.registry import Claims
from fedstore.siteregistry import WRITTEN_EVERY_S, Registered


class MemorySites:
    """Lost with the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sites: dict[str, Registered] = {}

    def heard(self, client_id: str, claims: Claims, at: float) -> bool:
        """Takes in a heartbeat."""
        with self._lock:
            known = self._sites.get(client_id)
            if known is not None and at < known.last_seen + WRITTEN_EVERY_S:
                return False
            self._sites[client_id] = Registered(client_id, at, claims)
            return True

    def sites(self) -> Iterable[Registered]:
        """All that are kept."""
        with self._lock:
            return list(self._sites.values())

    def settle(self, now: float) -> tuple[Registered, ...]:
        """Removes those that have expired; the others."""
        with self._lock:
            self._sites = {key: site for key, site in self._sites.items() if site.state(now) != "Expired"}
            return tuple(self._sites.values())
