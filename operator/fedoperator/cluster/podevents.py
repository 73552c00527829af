"""Why the cluster makes no pods for a Job: only its events say so. They are looked up for Jobs that lack pods, alone.

Called by reconcile.py with what decide/podless.py finds lacking. Events are neither watched nor kept.
"""

import logging
import threading
from collections.abc import Callable, Iterable
from time import monotonic

from fedapi.jsonvalue import Json, JsonView
from fedoperator.cluster.connection import Connection
from fedoperator.cluster.kinds import EVENT
from fedoperator.decide.decision import PodRefusal
from fedoperator.errors import OperatorError, UnauthorizedError

log = logging.getLogger(__name__)

RECHECK_S = 10.0  # between two looks at the events of one Job
_MOST = "50"  # events of one reason about one Job: the API server folds repetitions


class PodEvents:
    """Looks up FailedCreate events. Thread-safe."""

    def __init__(self, connection: Connection, clock: Callable[[], float] = monotonic) -> None:
        self._connection = connection
        self._clock = clock
        self._lock = threading.Lock()
        self._told: dict[str, tuple[float, PodRefusal | None]] = {}  # uid of a Job -> when it was looked up

    def refusals(self, jobs: Iterable[JsonView]) -> dict[str, PodRefusal]:
        """Name of a Job -> why no pods are made for it; without an entry where no event tells."""
        told = {job["metadata"]["name"]: self._why(job) for job in jobs}
        return {name: found for name, found in told.items() if found}

    def _why(self, job: JsonView) -> PodRefusal | None:
        uid, now = job["metadata"]["uid"], self._clock()
        with self._lock:
            at, found = self._told.get(uid, (-RECHECK_S, None))
            self._told = {u: told for u, told in self._told.items() if now - told[0] < 2 * RECHECK_S}
        if now - at < RECHECK_S:
            return found
        found = self._looked_up(job)
        with self._lock:
            self._told[uid] = (now, found)
        return found

    def _looked_up(self, job: JsonView) -> PodRefusal | None:
        about = f"regarding.uid={job['metadata']['uid']},reason=FailedCreate"
        query = {"fieldSelector": about, "limit": _MOST}
        try:
            found = self._connection.request("GET", EVENT.path(job["metadata"]["namespace"]), query=query)
        except UnauthorizedError:
            raise
        except OperatorError as error:
            log.warning("events of Job %s cannot be read: %s", job["metadata"]["name"], error)
            return None
        newest: Json | None = max(found.get("items") or (), key=_last_seen, default=None)
        return PodRefusal(str(newest.get("note") or ""), _last_seen(newest)) if newest else None


def _last_seen(event: Json) -> str:
    """When an event happened last, as text that sorts."""
    series = (event.get("series") or {}).get("lastObservedTime")
    return str(series or event.get("deprecatedLastTimestamp") or event.get("eventTime") or "")
