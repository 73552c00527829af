"""The CronJob controller: from a CronJob, its Jobs and the clock to the Job to make and the Jobs to remove. Pure.

Called by reconcile.py in every pass. As in a cluster for what Fedloom's manifests use: `concurrencyPolicy: Forbid`, one
zone, the newest of missed runs, history limits. What was due before this run began is not made up for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from fedapi.jsonvalue import Json
from fedlocal.cluster import timestamp
from fedoperator.decide.schedules import next_run
from fedoperator.decide.view import JobView


@dataclass(frozen=True)
class Step:
    """What the controller wants now."""

    status: Json
    create: Json | None = None  # a Job
    remove: tuple[str, ...] = ()  # names of Jobs
    again_after: float | None = None  # seconds


def step(body: Json, jobs: Sequence[Json], now: datetime) -> Step:
    """One look at a CronJob and the Jobs that it has made."""
    spec, status = body["spec"], body.get("status") or {}
    views = [JobView.of(job) for job in jobs]
    over = _beyond(views, complete=True, keep=spec["successfulJobsHistoryLimit"])
    over += _beyond(views, complete=False, keep=spec["failedJobsHistoryLimit"])
    if spec["suspend"]:
        return Step(status, remove=tuple(over))
    last = datetime.fromisoformat(status.get("lastScheduleTime") or body["metadata"]["creationTimestamp"])
    earliest = now - timedelta(seconds=spec["startingDeadlineSeconds"])
    due = _newest_missed(spec["schedule"], max(last, earliest), now)
    if due is None:
        return Step(status, remove=tuple(over), again_after=(next_run(spec["schedule"], now) - now).total_seconds())
    if any(not view.finished for view in views):
        return Step(status, remove=tuple(over))  # it comes when the one under way has ended, if it is not too late then
    made = _job(body, due)
    return Step(status | {"lastScheduleTime": timestamp(due)}, create=made, remove=tuple(over), again_after=0.0)


def _newest_missed(schedule: str, after: datetime, now: datetime) -> datetime | None:
    found = None
    while (due := next_run(schedule, found or after)) <= now:
        found = due
    return found


def _beyond(views: Sequence[JobView], *, complete: bool, keep: int) -> list[str]:
    """Finished Jobs that nobody needs any more, the newest last in the list that is cut."""
    ended = [view for view in views if (view.complete if complete else view.failed)]
    ended.sort(key=lambda view: (str(view.completed or view.failed_at or ""), view.name))
    return [view.name for view in ended[: max(0, len(ended) - keep)]]


def _job(body: Json, due: datetime) -> Json:
    metadata, template = body["metadata"], body["spec"]["jobTemplate"]
    owner = {
        "apiVersion": body["apiVersion"],
        "kind": body["kind"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": f"{metadata['name']}-{int(due.timestamp()) // 60}",
            "labels": dict(template["metadata"]["labels"]),
            "ownerReferences": [owner],
        },
        "spec": template["spec"],
    }
