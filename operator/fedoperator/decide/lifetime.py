"""Policy: how long a job may run (activeDeadlineSeconds) and how long it stays after its end (ttlSecondsAfterFinished)."""

from datetime import datetime, timedelta

from fedoperator.decide.context import JobContext
from fedoperator.decide.facts import Ending
from fedoperator.decide.reasons import Reason


def active_until(context: JobContext) -> datetime | None:
    """When the job's time is over. Time in suspension counts."""
    limit = context.spec.active_deadline_seconds
    return context.started + timedelta(seconds=limit) if limit is not None and context.started else None


def deadline_exceeded(context: JobContext) -> Ending | None:
    """The end of a job whose time is over."""
    until = active_until(context)
    if until is None or context.now < until:
        return None
    message = (
        f"spec.activeDeadlineSeconds ({context.spec.active_deadline_seconds}) have passed since the start of the job"
    )
    return Ending(
        complete=False, reason=Reason.DEADLINE_EXCEEDED, message=message, time=context.now, by_aggregator=False
    )


def expires(context: JobContext, ending: Ending) -> datetime | None:
    """When a finished job deletes itself."""
    ttl = context.spec.ttl_seconds_after_finished
    return ending.time + timedelta(seconds=ttl) if ttl is not None else None
