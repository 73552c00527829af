"""Deletions of what the history does not keep: beside the rounds, one after the other. Used by the engine."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from fedstore.errors import StoreError

log = logging.getLogger(__name__)


class Discarding:
    """A round that is gone back to is looked for when what was to go before is gone: it could lose its model after it was found.

    What begins later keeps it, since it is sought by then.
    """

    def __init__(self) -> None:
        self._one = asyncio.Lock()

    async def done(self, work: Callable[[], Awaitable[None]]) -> None:
        """Deletes; what the store does not delete now stays until the next time."""
        try:
            async with self._one:
                await work()
        except StoreError as error:
            log.warning("old objects stay", extra={"fields": {"reason": str(error)}})

    async def over(self) -> None:
        """Until all that was begun before is done."""
        async with self._one:
            return
