"""Writes that cannot be made: refused by the API server (422, 403), or the name is somebody else's.

Remembered per object, retried slowly, told to decide (Observed.refused). Used by cluster/apply.py and reconcile.py.
Things that others set again and again after they were taken back are remembered here too, so that nobody is hammered.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from fedapi.jsonvalue import JsonView
from fedoperator.decide.decision import Key, Refused

FIRST_RETRY_S = 5.0
MOST_RETRY_S = 300.0
FOREIGN_RETRY_S = 15.0  # costs two requests that change nothing; the name may be free again at any time
CALM_S = 3600.0  # after this long without a contest, its count begins anew
FREE_CONTESTS = 3  # times that something is taken back at once; another controller is fought slowly
_MOST_CONTEST_S = 1800.0


@dataclass(frozen=True)
class _Refusal:
    told: Refused
    times: int
    retry_at: float


class Refusals:
    """What was refused, by the uid of the job. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, dict[Key, _Refusal]] = {}
        self._contests: dict[str, dict[Key, tuple[int, float]]] = {}

    def refused(self, about: JsonView, key: Key, error: Exception) -> float:
        """Remembers a refusal by the API server; returns the seconds until it is worth trying again."""
        with self._lock:
            known = self._known.setdefault(about["metadata"]["uid"], {})
            times = known[key].times if key in known else 0
            delay = min(MOST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(times, 10))
            told = Refused(key, f"{key.kind} {key.name} was refused: {error}")
            known[key] = _Refusal(told, times + 1, self._clock() + delay)
        return delay

    def foreign(self, about: JsonView, key: Key, error: Exception) -> float:
        """Remembers that the name is somebody else's; returns the seconds until it is worth looking again."""
        with self._lock:
            known = self._known.setdefault(about["metadata"]["uid"], {})
            told = Refused(key, str(error), foreign=True)
            known[key] = _Refusal(told, 0, self._clock() + FOREIGN_RETRY_S)
        return FOREIGN_RETRY_S

    def wait_s(self, about: JsonView, key: Key) -> float:
        """Seconds until the object may be tried again; 0 when it was not refused."""
        with self._lock:
            known = self._known.get(about["metadata"]["uid"], {}).get(key)
        return max(0.0, known.retry_at - self._clock()) if known else 0.0

    def foreign_name(self, about: JsonView, key: Key) -> bool:
        """Whether the object was somebody else's when it was last looked at."""
        with self._lock:
            known = self._known.get(about["metadata"]["uid"], {}).get(key)
        return known is not None and known.told.foreign

    def cleared(self, about: JsonView, key: Key) -> None:
        """The object was written, or is as it should be."""
        with self._lock:
            self._known.get(about["metadata"]["uid"], {}).pop(key, None)

    def keep(self, uid: str, keys: set[Key]) -> None:
        """Forgets what was refused of objects that are wanted no longer."""
        with self._lock:
            known = self._known.get(uid, {})
            for key in known.keys() - keys:
                del known[key]

    def forget(self, uid: str) -> None:
        """The job is gone."""
        with self._lock:
            self._known.pop(uid, None)
            self._contests.pop(uid, None)

    def known(self, uid: str) -> tuple[Refused, ...]:
        """What is refused for a job now, in a fixed order."""
        with self._lock:
            told = [refusal.told for refusal in self._known.get(uid, {}).values()]
        return tuple(sorted(told, key=lambda each: (each.key.kind, each.key.name)))

    def contest_wait_s(self, about: JsonView, key: Key) -> float:
        """Seconds until something may be taken back from an object again."""
        with self._lock:
            times, last = self._contests.get(about["metadata"]["uid"], {}).get(key, (0, 0.0))
        if times < FREE_CONTESTS:
            return 0.0
        pause = min(_MOST_CONTEST_S, FIRST_RETRY_S * 2.0 ** min(times - FREE_CONTESTS, 10))
        return max(0.0, last + pause - self._clock())

    def contested(self, about: JsonView, key: Key) -> None:
        """Something was taken back from an object."""
        with self._lock:
            known, now = self._contests.setdefault(about["metadata"]["uid"], {}), self._clock()
            times, last = known.get(key, (0, now))
            known[key] = (times + 1 if now - last < CALM_S else 1, now)
