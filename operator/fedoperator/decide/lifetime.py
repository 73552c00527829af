"""Policy: how long a job may run (activeDeadlineSeconds) and how long it stays after its end (ttlSecondsAfterFinished)."""

from datetime import datetime, timedelta

from fedoperator.decide.facts import Ending
from fedoperator.decide.reasons import Reason
from fedoperator.decide.scene import Scene


def active_until(scene: Scene) -> datetime | None:
    """When the job's time is over. Time in suspension counts."""
    limit = scene.spec.active_deadline_seconds
    return scene.started + timedelta(seconds=limit) if limit is not None and scene.started else None


def deadline_exceeded(scene: Scene) -> Ending | None:
    """The end of a job whose time is over."""
    until = active_until(scene)
    if until is None or scene.now < until:
        return None
    message = (
        f"spec.activeDeadlineSeconds ({scene.spec.active_deadline_seconds}) have passed since the start of the job"
    )
    return Ending(complete=False, reason=Reason.DEADLINE_EXCEEDED, message=message, time=scene.now, by_aggregator=False)


def expires(scene: Scene, ending: Ending) -> datetime | None:
    """When a finished job deletes itself."""
    ttl = scene.spec.ttl_seconds_after_finished
    return ending.time + timedelta(seconds=ttl) if ttl is not None else None
