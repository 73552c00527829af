"""How the backups of all jobs stand, for the metrics: of FederatedJobs as the API server has them. Called by lifecycle.py."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from fedapi.jsonvalue import JsonView
from fedoperator.decide.facts import instant
from fedoperator.decide.reasons import ConditionType
from fedoperator.decide.view import condition, dig
from fedoperator.metrics import BackupReading


def backup_readings(jobs: Iterable[JsonView], now: datetime) -> Iterator[BackupReading]:
    """One for each job with spec.backup."""
    for job in jobs:
        if not dig(job, "spec", "backup"):
            continue
        verified = dig(job, "status", "backup", "verifiedTime")
        age_s = (now - instant(verified)).total_seconds() if verified else float("inf")
        healthy = condition(job, ConditionType.BACKUP_HEALTHY).get("status") == "True"
        yield BackupReading(job["metadata"].get("namespace", ""), job["metadata"]["name"], age_s, healthy)
