"""Heartbeats of the sites: each is renewed at most once in SITE_LEASE_RENEW_S, and all of them at an even pace.

Used by the publisher. Five thousand sites that connect at once would be as many writes at once, and again each minute;
here they are a queue that an API server holds out: first come, first served, so many a second, few at once.
"""

import asyncio
import logging
from collections.abc import Callable

from fedaggregator import metrics
from fedaggregator.errors import StatusUnavailableError
from fedaggregator.patience import Patience
from fedaggregator.ports import StatusSink
from fedapi.names import SITE_LEASE_RENEW_S

log = logging.getLogger(__name__)
RENEWALS_PER_S = 75  # 5,000 sites in 67 s; of the 90 writes a second that so many may cost, the rest is the operator's
_AT_ONCE = 4  # renewals under way: with an API server that takes 50 ms for one they keep that pace


class Heartbeats:
    """Which sites were heard from and are to be renewed."""

    def __init__(self, clock: Callable[[], float], sink: StatusSink, patience: Patience) -> None:
        self._clock, self._sink, self._patience = clock, sink, patience
        self._due: dict[str, None] = {}  # in the order in which they are renewed
        self._heard: dict[str, float] = {}  # when each was heard from last
        self._renewed: dict[str, float] = {}  # when each was renewed last
        self._next_s = 0.0  # of the event loop's clock: when the next one may begin
        self._renewing: asyncio.Task[None] | None = None

    def heard(self, client: str) -> None:
        """A site said something."""
        now = self._heard[client] = self._clock()
        if now - self._renewed.get(client, -SITE_LEASE_RENEW_S) >= SITE_LEASE_RENEW_S:
            self._due.setdefault(client)
        if self._due and (self._renewing is None or self._renewing.done()):
            self._renewing = asyncio.get_running_loop().create_task(self._renew_all())

    async def _renew_all(self) -> None:
        """Until nothing is due."""
        loop, free = asyncio.get_running_loop(), asyncio.Semaphore(_AT_ONCE)
        async with asyncio.TaskGroup() as renewals:
            while self._due:
                await free.acquire()
                await asyncio.sleep(self._next_s - loop.time())
                self._next_s = loop.time() + 1 / RENEWALS_PER_S
                client = next(iter(self._due))
                del self._due[client]
                self._renewed[client] = self._clock()
                renewals.create_task(self._renew(client, free))

    async def _renew(self, client: str, free: asyncio.Semaphore) -> None:
        try:
            await asyncio.to_thread(self._sink.heard, client, self._clock() - self._heard[client])
        except StatusUnavailableError as error:
            metrics.STATUS_FAILURES.inc()
            self._patience.heartbeat(error)
            log.warning("heartbeat was not renewed", extra={"fields": {"site": client, "reason": str(error)}})
        finally:
            free.release()
