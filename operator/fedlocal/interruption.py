"""Work that is given up when something else happens first. Used by runner.py and kubelet.py."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


async def unless_set(event: asyncio.Event, work: Coroutine[Any, Any, _T]) -> _T | None:
    """The result of the work; None when the event is set before it is done, and it is cancelled."""
    working, happening = asyncio.ensure_future(work), asyncio.ensure_future(event.wait())
    await asyncio.wait({working, happening}, return_when=asyncio.FIRST_COMPLETED)
    happening.cancel()
    if not working.done():
        working.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        return await working
    return None
