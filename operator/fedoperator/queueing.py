"""The work queue: keys, not events. Coalescing, serial per key, with delays and exponential back-off.

Filled by handlers/ (any event) and by workers.py (requeue, resync, back-off); emptied by workers.py. A key that is
added while it is worked on is handed out once more afterwards; a key that waits is handed out once, at the earliest
of the times it was added for. Nothing here knows what a key stands for.
"""

import heapq
import threading
from collections.abc import Callable
from time import monotonic
from typing import NamedTuple

BACKOFF_FIRST_S = 0.2
BACKOFF_MOST_S = 60.0


class WorkKey(NamedTuple):
    """An object to look at."""

    namespace: str
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class WorkQueue:
    """Thread-safe. Closed until `open()`: keys gather, nothing is handed out before the caches are filled."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._due: dict[WorkKey, float] = {}
        self._heap: list[tuple[float, WorkKey]] = []
        self._running: set[WorkKey] = set()
        self._failures: dict[WorkKey, int] = {}
        self._opened = False
        self._shut = False

    def open(self) -> None:
        """Lets workers begin; again does nothing."""
        with self._changed:
            self._opened = True
            self._changed.notify_all()

    def shut(self) -> None:
        """No key is handed out any more; waiting workers get None."""
        with self._changed:
            self._shut = True
            self._changed.notify_all()

    def add(self, key: WorkKey, after_s: float = 0.0) -> None:
        """Has the key handed out after `after_s` seconds, or earlier if it was due earlier."""
        due = self._clock() + after_s
        with self._changed:
            if due < self._due.get(key, float("inf")):
                self._due[key] = due
                heapq.heappush(self._heap, (due, key))
                if len(self._heap) > 4 * len(self._due) + 64:  # superseded times pile up: start from what counts
                    self._heap = [(time, waiting) for waiting, time in self._due.items()]
                    heapq.heapify(self._heap)
                self._changed.notify()

    def add_failed(self, key: WorkKey, at_least_s: float = 0.0) -> float:
        """Has the key handed out after its back-off, which doubles with each failure; returns the seconds."""
        with self._changed:
            failures = self._failures.get(key, 0)
            self._failures[key] = failures + 1
        delay = max(at_least_s, min(BACKOFF_MOST_S, BACKOFF_FIRST_S * 2.0 ** min(failures, 16)))
        self.add(key, delay)
        return delay

    def succeeded(self, key: WorkKey) -> None:
        """Forgets the key's failures."""
        with self._changed:
            self._failures.pop(key, None)

    def get(self) -> WorkKey | None:
        """The next key that is due; waits for one. None when the queue is shut. The caller must call `done`."""
        with self._changed:
            while not self._shut:
                wait_s = self._next_in_s()
                if wait_s is not None and wait_s <= 0:
                    _, key = heapq.heappop(self._heap)
                    del self._due[key]
                    self._running.add(key)
                    return key
                self._changed.wait(wait_s)
        return None

    def done(self, key: WorkKey) -> None:
        """The caller has finished with the key; if it was added meanwhile, it may be handed out again."""
        with self._changed:
            self._running.discard(key)
            if key in self._due:
                heapq.heappush(self._heap, (self._due[key], key))
            self._changed.notify_all()

    def depth(self) -> int:
        """Keys that are due and not being worked on."""
        now = self._clock()
        with self._changed:
            return sum(due <= now and key not in self._running for key, due in self._due.items())

    def _next_in_s(self) -> float | None:
        """Seconds until the first key that may be handed out, which is then at the heap's top; None: no such key."""
        while self._opened and self._heap:
            due, key = self._heap[0]
            if self._due.get(key) == due and key not in self._running:
                return due - self._clock()
            heapq.heappop(self._heap)  # superseded by an earlier time, or pushed again by done()
        return None
