"""Several spans of a model at the same time, each in a thread, and their results in order. Called by blocks.py.

Whatever is computed of a span is computed by one thread, term after term in the plan's order: how many threads there are
decides nothing. A file that is to be read from its beginning to its end lets them at it in turn.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

_Room = TypeVar("_Room")
_Done = TypeVar("_Done")


def computed(
    count: int, work: Callable[[int, _Room], _Done], rooms: Sequence[_Room], threads: ThreadPoolExecutor
) -> Iterator[_Done]:
    """work(index, room) of every index, in their order. A room is one call's at a time.

    A result may lie in its room: it is valid until the next is asked for.
    """
    free, underway = deque(rooms), deque[tuple[Future[_Done], _Room]]()
    try:
        for index in range(count):
            if not free:
                future, room = underway.popleft()
                yield future.result()
                free.append(room)
            room = free.popleft()
            underway.append((threads.submit(work, index, room), room))
        while underway:
            yield underway.popleft()[0].result()
    finally:
        for future, _ in reversed(underway):  # the last first: who waits for its turn waits for one that has begun
            future.cancel()
        wait([future for future, _ in underway])


class Turns:
    """Who may read a file now: span after span, whichever threads they are computed in."""

    def __init__(self) -> None:
        self._next, self._moved = 0, threading.Condition()
        self._done: set[int] = set()  # those before which one is not done

    def wait(self, index: int) -> None:
        """Until all spans before this one are done with the file."""
        with self._moved:
            self._moved.wait_for(lambda: self._next >= index)

    def done(self, index: int) -> None:
        """To be said of every span that was begun, whether it was read, was not needed or has failed; again is fine."""
        with self._moved:
            if index >= self._next:
                self._done.add(index)
            while self._next in self._done:
                self._done.remove(self._next)
                self._next += 1
            self._moved.notify_all()
