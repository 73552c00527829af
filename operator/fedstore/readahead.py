"""Windows over objects of a store that is far away: few requests, the next one under way while this one is read.

Used by bucketstore.py for its readers. All open readers share one budget of memory: a few get wide windows, a thousand
get none, and each of their reads, which are large then, is a request of its own.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from fedstore.objectstore import Reader

_FIRST_BYTES = 64 << 10  # of an object: the header of a file of tensors, which is asked for in pieces
_WIDEST_BYTES = 4 << 20
_ASTRAY_BYTES = 256 << 10  # a read that does not follow the one before brings this much


class Budget:
    """Memory for the windows of one store's open readers."""

    def __init__(self, most_bytes: int = 24 << 20) -> None:
        self._most_bytes, self._open = most_bytes, 0
        self._lock = threading.Lock()

    def opened(self) -> None:
        """One more reader."""
        with self._lock:
            self._open += 1

    def closed(self) -> None:
        """One less."""
        with self._lock:
            self._open -= 1

    def window_bytes(self) -> int:
        """Of a reader now, which may hold two windows."""
        return min(_WIDEST_BYTES, self._most_bytes // (2 * max(1, self._open)))


class Distant(Reader, Protocol):
    """A reader whose every read is at least one request."""

    def request(self, buffer: memoryview, offset: int) -> None:
        """Fills the buffer by one."""


class ReadAhead:
    """A reader through windows. Used by one thread at a time, as any reader."""

    def __init__(self, reader: Distant, budget: Budget, threads: Callable[[], ThreadPoolExecutor]) -> None:
        self._reader, self._budget, self._threads = reader, budget, threads
        self._start, self._window = 0, memoryview(b"")
        self._next: Future[memoryview] | None = None  # what follows the window
        self._end = 0  # of the last read

    @property
    def size(self) -> int:
        """Bytes of the object."""
        return self._reader.size

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """From the windows; a buffer as large as one is filled by a request of its own."""
        is_next, self._end = offset == self._end, offset + buffer.nbytes
        if self._end > self.size:
            self._reader.read_into(buffer, offset)  # says so
        while buffer.nbytes:
            at = offset - self._start
            if 0 <= at < self._window.nbytes:
                part = self._window[at : at + buffer.nbytes]
                buffer[: part.nbytes] = part
                buffer, offset = buffer[part.nbytes :], offset + part.nbytes
            elif not self._moved(offset, buffer.nbytes, is_next):
                self._reader.read_into(buffer, offset)
                return

    def close(self) -> None:
        """Gives the windows up, and waits for what is under way."""
        if self._next is not None and not self._next.cancel():
            self._next.exception()
        self._next, self._window = None, memoryview(b"")

    def _moved(self, offset: int, wanted: int, is_next: bool) -> bool:
        """Whether there is a window there now."""
        if self._next is not None and offset == self._start + self._window.nbytes:
            ahead, self._next = self._next, None  # which may have failed, and be asked for again
            self._start, self._window = offset, ahead.result()
            self._look_ahead()
            return True
        self.close()
        size = min(self._budget.window_bytes(), self.size - offset)
        if not is_next:
            size = min(size, _ASTRAY_BYTES)
        if offset < _FIRST_BYTES:
            size = min(size, _FIRST_BYTES - offset)
        if wanted >= size:
            return False
        self._start, self._window = offset, self._filled(offset, size)
        if is_next and offset >= _FIRST_BYTES:
            self._look_ahead()
        return True

    def _look_ahead(self) -> None:
        start = self._start + self._window.nbytes
        size = min(self._budget.window_bytes(), self.size - start)
        if size > 0:
            self._next = self._threads().submit(self._filled, start, size)

    def _filled(self, start: int, size: int) -> memoryview:
        window = memoryview(bytearray(size))
        self._reader.request(window, start)
        return window
