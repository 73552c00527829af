"""What goes on beside the engine's events, and the error that ends the process wherever it is caught first. Used by the engine."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

_E = TypeVar("_E", bound=Exception)


class Background:
    """The tasks of one engine."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self.fatal: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def ended(self, error: _E) -> _E:
        """The error that ends the process, wherever it is caught first."""
        if not self.fatal.done():
            self.fatal.set_exception(error)
        return error

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begins it, and keeps it until it is done."""
        task = asyncio.get_running_loop().create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        """An error in a background task ends the process: what it should have done is done after the restart."""
        try:
            await work
        except Exception as error:  # noqa: BLE001 - handed on to Engine.run()
            self.ended(error)
