"""Backups of the table by the clock: one whenever the newest is old enough, and the oldest go. Run by __main__ beside the routes.

A failure is told in the log and by the metrics, and disturbs no heartbeat. Replicas look at the same list, so they share the work;
two that look in the same second make two backups, of which retention takes one.
"""

import asyncio
import logging
import random
from collections.abc import Callable

from fedregistry import metrics
from fedstore.dynamobackup import TableBackups
from fedstore.errors import StoreError

log = logging.getLogger(__name__)
LOOK_S = 600.0  # between two looks; a failure is tried again then


class Backups:
    """Of one table."""

    def __init__(self, table: TableBackups, every_s: float, keep_last: int, clock: Callable[[], float]) -> None:
        self._table, self._every_s, self._keep_last, self._clock = table, every_s, keep_last, clock

    async def run(self) -> None:
        """Until it is cancelled."""
        await asyncio.to_thread(self.note_recovery)
        while True:
            await asyncio.to_thread(self.look)
            await asyncio.sleep(LOOK_S * random.uniform(0.8, 1.2))  # noqa: S311 - it spreads load, and keeps no secret

    def note_recovery(self) -> None:
        """Whether the table can be recovered to a point in time; what may not be asked is not claimed."""
        try:
            on = self._table.point_in_time()
        except StoreError as error:
            log.warning("recovery to a point in time was not looked at", extra={"fields": {"reason": str(error)}})
            return
        if on is False:
            log.warning("the table cannot be recovered to a point in time: enable it, or rely on its backups alone")
        else:
            log.info(
                "recovery to a point in time", extra={"fields": {"enabled": "may not be asked" if on is None else on}}
            )

    def look(self) -> None:
        """Makes a backup where one is due, deletes what is too many, and tells how old the newest is."""
        try:
            now, found = self._clock(), self._table.all()
            if not found or now - found[0].made_at >= self._every_s:
                made = self._table.make(now)
                log.info("a backup of the table is made", extra={"fields": {"name": made.name, "bytes": made.bytes}})
                found.insert(0, made)
            if gone := self._table.keep(self._keep_last):
                log.info("old backups of the table are deleted", extra={"fields": {"count": gone}})
        except StoreError as error:
            metrics.BACKUP_FAILURES.inc()
            log.warning("the table was not backed up", extra={"fields": {"reason": str(error)}})
            return
        if whole := [each for each in found if each.whole]:
            metrics.BACKUP_AT.set(whole[0].made_at)
