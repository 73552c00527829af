"""Writes that the API server refused (422, 403): remembered per object, retried slowly, shown in the job's conditions.

Used by cluster/apply.py. Only the shell knows of refusals, so it adds a condition of its own, ObjectsApplied, to what
was decided. The condition is there only while something is refused.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from fedapi import names
from fedoperator.decide.model import Key, Manifest
from fedoperator.decide.reasons import ConditionType, Reason
from fedoperator.errors import RefusedError

FIRST_RETRY_S = 5.0
MOST_RETRY_S = 300.0
CONDITION = str(ConditionType.OBJECTS_APPLIED)
REASON = str(Reason.OBJECT_REFUSED)
MAX_MESSAGE = 1024


@dataclass(frozen=True)
class _Refusal:
    message: str
    times: int
    retry_at: float


class Refusals:
    """What was refused, by the uid of the job. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, dict[Key, _Refusal]] = {}

    def refused(self, about: Manifest, key: Key, error: RefusedError) -> float:
        """Remembers a refusal; returns the seconds until it is worth trying again."""
        with self._lock:
            known = self._known.setdefault(about["metadata"]["uid"], {})
            times = known[key].times if key in known else 0
            delay = min(MOST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(times, 10))
            known[key] = _Refusal(f"{key.kind} {key.name} was refused: {error}", times + 1, self._clock() + delay)
        return delay

    def wait_s(self, about: Manifest, key: Key) -> float:
        """Seconds until the object may be tried again; 0 when it was not refused."""
        with self._lock:
            known = self._known.get(about["metadata"]["uid"], {}).get(key)
        return max(0.0, known.retry_at - self._clock()) if known else 0.0

    def cleared(self, about: Manifest, key: Key) -> None:
        """The object was written, or is as it should be."""
        with self._lock:
            self._known.get(about["metadata"]["uid"], {}).pop(key, None)

    def forget(self, uid: str) -> None:
        """The job is gone."""
        with self._lock:
            self._known.pop(uid, None)

    def messages(self, uid: str) -> list[str]:
        """What is refused for a job now."""
        with self._lock:
            return sorted(refusal.message for refusal in self._known.get(uid, {}).values())

    def shown_in(self, about: Manifest, status: Manifest, now: datetime) -> Manifest:
        """The status with a condition about what is refused, if anything is."""
        messages = self.messages(about["metadata"]["uid"])
        if not messages or about["kind"] != names.JOB_KIND:
            return status
        others = [c for c in status.get("conditions") or () if c["type"] != CONDITION]
        return {**status, "conditions": [*others, _condition(about, "; ".join(messages)[:MAX_MESSAGE], now)]}


def _condition(about: Manifest, message: str, now: datetime) -> Mapping[str, Any]:
    live: Mapping[str, Any] = next(
        (c for c in (about.get("status") or {}).get("conditions") or () if c["type"] == CONDITION), {}
    )
    since = live.get("lastTransitionTime")
    return {
        "type": CONDITION,
        "status": "False",
        "reason": REASON,
        "message": message,
        "observedGeneration": about["metadata"].get("generation", 0),
        "lastTransitionTime": since or now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
