"""When a schedule of a CronJob is due next. Pure. Used by the policies that say that something is late."""

from datetime import UTC, datetime, timedelta

from croniter import CroniterError, croniter

_NEVER = timedelta(days=36_500)


def next_run(schedule: str, after: datetime) -> datetime:
    """The first time after that instant, in UTC; in a hundred years where there is none.

    Kubernetes takes the 31st of February and never runs it; `?` is `*` in all columns there.
    """
    at = after.astimezone(UTC)
    try:
        found: datetime = croniter(schedule.replace("?", "*"), at).get_next(datetime)
    except CroniterError:  # or what the API server refuses, and says so itself
        return at + _NEVER
    return found
