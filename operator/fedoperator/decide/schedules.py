"""When a schedule of a CronJob is due next. Pure. Used by the policies that say that something is late."""

from datetime import UTC, datetime

from croniter import croniter


def next_run(schedule: str, after: datetime) -> datetime:
    """The first time after that instant, in UTC."""
    found: datetime = croniter(schedule, after.astimezone(UTC)).get_next(datetime)
    return found
