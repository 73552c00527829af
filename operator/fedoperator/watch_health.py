"""Are the watches alive? Their last sign of life per kind and namespace, and whether every first list is in.

Written by handlers/session.py, read by probes and metrics. A watch shows life when the API server answers its list
or its (re)connection; since every watch is ended by the server once a minute, silence means that it hangs. An event
is no proof for the others: each watch is looked at alone.
"""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import monotonic


@dataclass(frozen=True)
class Stream:
    """One watch."""

    kind: str
    namespace: str | None  # None: the whole cluster


class WatchHealth:
    """Thread-safe."""

    def __init__(self, streams: Iterable[Stream], silence_s: float, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._silence_s = silence_s
        self._lock = threading.Lock()
        self._streams = tuple(streams)
        self._alive: dict[Stream, float] = {}
        self._watching: set[Stream] = set()

    def begin(self, streams: Iterable[Stream] | None = None) -> None:
        """This process acts from now on: every watch must show life from here. `streams`: those that really run."""
        with self._lock:
            self._streams = self._streams if streams is None else tuple(streams)
            self._alive = dict.fromkeys(self._streams, self._clock())

    def heard(self, stream: Stream, *, watching: bool) -> None:
        """The API server answered a list, or (watching) the watch that follows the list."""
        with self._lock:
            if stream in self._alive:
                self._alive[stream] = self._clock()
                if watching:
                    self._watching.add(stream)

    def synced(self) -> bool:
        """Whether every first list is in."""
        with self._lock:
            return bool(self._alive) and len(self._watching) == len(self._alive)

    def ages_s(self) -> dict[str, float]:
        """Seconds since the last sign of life, by kind (the oldest of its namespaces). Empty on a standby."""
        now = self._clock()
        ages: dict[str, float] = {}
        with self._lock:
            for stream, alive in self._alive.items():
                ages[stream.kind] = max(now - alive, ages.get(stream.kind, 0.0))
        return ages

    def silent(self) -> list[str]:
        """Kinds whose watch has been silent for too long."""
        return sorted(kind for kind, age in self.ages_s().items() if age > self._silence_s)
