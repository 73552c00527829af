"""The table as it was read last: every so often, for all who ask. It settles what the clock changes on the way.

One scan for all readers bounds what reading costs, however often somebody asks.
"""

import asyncio
import logging
import random
from collections.abc import Callable

from fedapi.wire.registry import STATES, Site, Sites
from fedregistry import metrics
from fedstore.errors import StoreError
from fedstore.siteregistry import Registered, SiteRegistry

log = logging.getLogger(__name__)
_OLD = 4  # times the interval: a reading that is older answers nothing


class Readings:
    """Reads until it is cancelled."""

    def __init__(self, registry: SiteRegistry, every_s: float, clock: Callable[[], float]) -> None:
        self._registry, self._every_s, self._clock = registry, every_s, clock
        self._last: tuple[float, tuple[Registered, ...]] | None = None

    async def run(self) -> None:
        """One reading after the other; replicas do not read at the same time."""
        while True:
            await self.read()
            await asyncio.sleep(self._every_s * random.uniform(0.8, 1.2))  # noqa: S311 - it spreads load, and keeps no secret

    async def read(self) -> None:
        """One reading."""
        now = self._clock()
        try:
            kept = await asyncio.to_thread(self._registry.settle, now)
        except StoreError as error:
            metrics.READ_FAILURES.inc()
            log.warning("the table was not read", extra={"fields": {"reason": str(error)}})
            return
        self._last = now, kept
        metrics.READ_AT.set(now)
        for state in STATES:
            metrics.SITES.labels(state).set(sum(1 for site in kept if site.state(now) == state))

    def sites(self) -> Sites | None:
        """All sites, by their states of now; None when the last reading is too old to say."""
        now = self._clock()
        if self._last is None or now - self._last[0] > _OLD * self._every_s:
            return None
        at, kept = self._last
        return Sites(at=at, sites=tuple(_site(each, now) for each in kept))


def _site(site: Registered, now: float) -> Site:
    said = site.claims
    return Site(
        client_id=site.client_id,
        last_seen=site.last_seen,
        status=site.state(now),
        capability=said.capability,
        organization=said.organization,
        labels=said.labels,
    )
