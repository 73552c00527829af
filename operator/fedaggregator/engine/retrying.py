"""The engine's blocking work: in threads, and tried again while the store is full or failing. Used by the engine.

What all sites wait for has threads of its own, so that no transfer, fold or check is before it.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from fedaggregator import metrics
from fedaggregator.engine.background import Background
from fedaggregator.engine.outage import Outage
from fedaggregator.errors import FatalError, StoreDamagedError, SupersededError, store_failed
from fedaggregator.ports import Clock
from fedstore.errors import HeadMovedError, StoreError, StoreFailedError, StoreFullError, UnfitStoreError

log = logging.getLogger(__name__)
_T = TypeVar("_T")
_FIRST_S, _MAX_S = 0.2, 5.0  # between two tries
_DECIDING = 4  # threads: an evaluation, what was issued, and the ledger are written beside the commit


class Retrying:
    """Of one engine's job."""

    def __init__(
        self, clock: Clock, pool: ThreadPoolExecutor, retry_s: float, background: Background, news: asyncio.Event
    ) -> None:
        self._clock, self._pool, self._retry_s = clock, pool, retry_s
        self._deciding = ThreadPoolExecutor(_DECIDING, thread_name_prefix="deciding")
        self._background, self._news = background, news
        self.outage = Outage(clock)
        self.stopping = False  # whether nothing is tried again any more

    def close(self) -> None:
        """Ends its threads."""
        self._deciding.shutdown(cancel_futures=True)

    async def blocking(self, function: Callable[..., _T], *args: object) -> _T:
        """Runs a blocking function in the pool."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, function, *args)

    async def under_lock(self, function: Callable[..., _T], *args: object) -> _T:
        """The same for what all sites wait for."""
        return await asyncio.get_running_loop().run_in_executor(self._deciding, function, *args)

    async def retried(self, work: Callable[[], _T]) -> _T:
        """In the pool; tries again while the store is full or failing, for a bounded time; then the process gives up."""
        return await self._tried(self.blocking, work)

    async def decided(self, work: Callable[[], _T]) -> _T:
        """The same under the lock."""
        return await self._tried(self.under_lock, work)

    async def _tried(self, run: Callable[[Callable[[], _T]], Awaitable[_T]], work: Callable[[], _T]) -> _T:
        give_up, pause, ended = self._clock() + self._retry_s, _FIRST_S, self._background.ended
        while True:
            try:
                done = await run(work)
            except FatalError as error:
                ended(error)
                raise
            except HeadMovedError as error:
                raise ended(SupersededError()) from error
            except (StoreFullError, StoreFailedError) as error:
                metrics.STORE_RETRIES.inc()
                if self._clock() + pause > give_up or self.stopping:
                    raise ended(store_failed(error)) from error
                log.warning("store operation is tried again", extra={"fields": {"reason": str(error)}})
                self.failed(error)
            except UnfitStoreError as error:
                raise ended(store_failed(error)) from error
            except StoreError as error:
                raise ended(StoreDamagedError(str(error))) from error
            else:
                self.outage.worked()
                return done
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            pause = min(_MAX_S, pause * 2)

    def failed(self, error: StoreError) -> None:
        """The status says so at once, and until nothing has failed for a while: small objects may still fit."""
        before = self.outage.text
        self.outage.failed(error)
        if self.outage.text != before:
            self._news.set()
