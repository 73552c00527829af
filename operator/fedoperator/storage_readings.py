"""Whether the buckets of all jobs are set up as they should be, for the metrics.

Read from FederatedJobs as the API server has them. Called by lifecycle.py.
"""

from collections.abc import Iterable, Iterator

from fedapi.jsonvalue import JsonView
from fedoperator.decide.reasons import ConditionType
from fedoperator.decide.view import condition
from fedoperator.metrics import StorageReading


def storage_readings(jobs: Iterable[JsonView]) -> Iterator[StorageReading]:
    """One for each job of which it is known."""
    for job in jobs:
        status = condition(job, ConditionType.STORAGE_SAFE).get("status")
        if status in ("True", "False"):
            yield StorageReading(job["metadata"].get("namespace", ""), job["metadata"]["name"], status == "True")
