"""Closes what kopf leaves open: its watches are asynchronous generators inside each other.

Used by runtime.py. kopf is ended by cancelling it; where that meets a watch between two events, its generators stay
suspended, and the event loop would close them all at once when it ends, an inner one before the outer one that still
needs it, which it logs as errors. Here they are closed one after the other, the outermost first, while the loop runs.
"""

import sys
import weakref
from collections.abc import AsyncGenerator
from itertools import count
from types import TracebackType
from typing import Any, Self

Generator = AsyncGenerator[Any, None]


class Generators:
    """Around what begins generators, in the event loop's thread; whatever is still open at the end is closed."""

    def __init__(self) -> None:
        self._number = count()
        self._open: weakref.WeakValueDictionary[int, Generator] = weakref.WeakValueDictionary()
        self._dropped: list[Generator] = []
        self._ending = False

    async def __aenter__(self) -> Self:
        self._loops = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(firstiter=self._begun, finalizer=self._drop)
        return self

    def end(self) -> None:
        """From here on, what is dropped is kept for the end: a task that closes it would be cancelled like the rest."""
        self._ending = True

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
        sys.set_asyncgen_hooks(*self._loops)
        await self._close_dropped()
        for number in sorted(self._open):  # what began first is the outermost, and closes the contexts that it is in
            if generator := self._open.get(number):
                await generator.aclose()
                del generator  # what it held is dropped with it
            await self._close_dropped()

    async def _close_dropped(self) -> None:
        while self._dropped:
            await self._dropped.pop().aclose()

    def _begun(self, generator: Generator) -> None:
        self._open[next(self._number)] = generator
        if self._loops.firstiter:
            self._loops.firstiter(generator)

    def _drop(self, generator: Generator) -> None:
        if self._ending:
            self._dropped.append(generator)
        elif self._loops.finalizer:
            self._loops.finalizer(generator)
