"""The job's history as one file of JSON lines beside HEAD, and at the end its model card: for whoever reads the store with tools of their own.

Used by the engine. Both are derived from the records (fedstore.historyrows, fedstore.modelcard), so nothing is lost with it: a process that dies leaves
an older one, and the next writes it anew. Written as the job grows by a tenth, at most once a minute and never for more than a share
of the time, and at the end.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from fedaggregator.errors import WorkCancelledError
from fedaggregator.ports import Clock
from fedapi.wire.layout import Layout
from fedapi.wire.message import NewerRecordError
from fedapi.wire.siteevaluation import SiteEvaluationRecord
from fedcore.rounds.state import Phase, State
from fedstore import cardpage, historyrows, modelcard
from fedstore.errors import HeadMovedError, StoreError, StoreFailedError, StoreFullError
from fedstore.historyrows import Row
from fedstore.objectstore import ObjectStore

log = logging.getLogger(__name__)
MOST_SITES = 100  # of which a row tells what each has measured; `fedloom history` tells it of all
_GROWTH = 10  # it is written again once there is one round more for so many that it has
_EVERY_S = 60.0  # at least, until the next, so that a job of quick rounds asks its store for little more
_SHARE = 50.0  # times as long as a write took, at least, until the next
_RETRY_S = 5.0  # after one that the store did not take
_LAST_S = 10.0  # for one that is being written when the process ends: its pod has half a minute


class HistoryFile:
    """Of one job, in this process."""

    def __init__(self, store: ObjectStore, layout: Layout, clock: Clock) -> None:
        self._store, self._layout, self._clock = store, layout, clock
        self._rounds = -1  # that the file has, or is being written with
        self._evaluations: Mapping[str, SiteEvaluationRecord] | None = None  # the same, at the end
        self._not_before, self._retry_at = clock() + _EVERY_S, 0.0
        self._one = asyncio.Lock()
        self._over = False  # so that there is a card to be written
        self._ends_at: float | None = None  # what is being written is given up then

    def due(self, state: State) -> bool:
        """Whether it is to be written now; then it is taken to be so."""
        rounds, over = len(state.history), state.phase is Phase.FINISHED
        grown = rounds > self._rounds + self._rounds // _GROWTH and self._clock() >= self._not_before
        last = over and (rounds != self._rounds or state.site_evaluations is not self._evaluations)
        if not (rounds and (grown or last)) or self._clock() < self._retry_at:
            return False
        self._rounds, self._evaluations, self._over = rounds, state.site_evaluations if over else None, over
        return True

    async def written(self, run: Callable[[Callable[[], None]], Awaitable[None]]) -> None:
        """Writes it. What the store does not take now it is given again soon: after the last round there is no other time."""
        async with self._one:
            began = self._clock()
            try:
                await run(self.write)
            except WorkCancelledError as error:
                log.info("the history is not written", extra={"fields": {"reason": str(error)}})
            except (StoreError, NewerRecordError) as error:
                log.warning("the history is not written", extra={"fields": {"reason": str(error)}})
                if isinstance(error, StoreFailedError | StoreFullError | HeadMovedError):  # else it would fail again
                    self._rounds, self._evaluations = -1, None
                self._retry_at = self._clock() + max(_RETRY_S, self._clock() - began)
            else:
                self._not_before = max(self._not_before, self._clock() + _EVERY_S)
            self._not_before = max(self._not_before, self._clock() + _SHARE * (self._clock() - began))

    async def over(self) -> None:
        """Until what is being written is there, or has taken too long for a process that ends."""
        self._ends_at = self._clock() + _LAST_S
        with suppress(TimeoutError):
            async with asyncio.timeout(2 * _LAST_S):  # a store may take long to answer once
                await self._one.acquire()
            self._one.release()

    def write(self) -> None:
        """From the records as they are now. Blocking."""
        newest_first = historyrows.newest_first(self._store, self._layout, MOST_SITES)
        lines = [self._line(row) for row in newest_first]  # a row's objects are many times larger
        self._replaced(self._layout.history, b"".join(reversed(lines)))
        if self._over:
            card = modelcard.card(self._store, self._layout)
            self._replaced(self._layout.card, card.text().encode())
            self._replaced(self._layout.card_page, cardpage.page(card).encode())

    def _replaced(self, key: str, data: bytes) -> None:
        found = self._store.head(key)
        if found is None or found.data != data:
            self._store.replace_head(key, data, found.tag if found else None)

    def _line(self, row: Row) -> bytes:
        if self._ends_at is not None and self._clock() > self._ends_at:
            raise WorkCancelledError("the process ends: the next one writes it, and `fedloom history` needs it not")
        return f"{row.line()}\n".encode()
