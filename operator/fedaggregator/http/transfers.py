"""Turns for models and updates under way: a few per site, a bounded number in all, the others wait in line.

Used by blobs.py. Bounded in number, because each takes buffers, a file and a share of the network.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fedaggregator.errors import RequestRefusedError
from fedaggregator.limits import Limits
from fedapi.wire.site import Refusal
from fedcore.rounds import admission


class Transfers:
    """Who transfers, and who waits."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._turns = asyncio.Semaphore(limits.transfers)
        self._of_site: Counter[tuple[str, str]] = Counter()  # those that wait included
        self.under_way = 0

    @asynccontextmanager
    async def turn(self, method: str, site: str) -> AsyncIterator[None]:
        """Waits for a turn, for a bounded time; RequestRefusedError when the site has its share, or nothing became free."""
        most = admission.UPLOADS if method == "PUT" else self._limits.downloads_per_site
        key = (method, site)
        if self._of_site[key] >= most:
            raise _busy(
                f"site {site!r} has {most} transfers of this kind under way already: end one, or try again later"
            )
        self._of_site[key] += 1
        try:
            await self._wait()
            self.under_way += 1
            try:
                yield
            finally:
                self.under_way -= 1
                self._turns.release()
        finally:
            self._of_site[key] -= 1
            if not self._of_site[key]:
                del self._of_site[key]

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(self._limits.transfer_wait_s):
                await self._turns.acquire()
        except TimeoutError as error:
            message = f"{self._limits.transfers} transfers are under way, which is the most: try again later"
            raise _busy(message) from error


def _busy(message: str) -> RequestRefusedError:
    return RequestRefusedError(Refusal(code="Busy", message=message))
