"""Schedules are in UTC, whatever the zone of the instant."""

import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest

from fedoperator.decide.schedules import next_run


@pytest.mark.parametrize(
    ("schedule", "due"),
    [
        ("0 3 * * *", "2026-11-23T03:00:00+00:00"),
        ("*/5 * * * *", "2026-11-22T12:05:00+00:00"),
        ("@weekly", "2026-11-29T00:00:00+00:00"),
        ("0 0 29 2 *", "2028-02-29T00:00:00+00:00"),
    ],
)
def test_the_next_run(schedule, due):
    east = datetime(2026, 11, 22, 14, 0, tzinfo=timezone(timedelta(hours=2)))  # noon in UTC
    assert next_run(schedule, east) == datetime.fromisoformat(due)


@pytest.mark.parametrize(
    ("schedule", "due"),
    [("? ? * * ?", "2026-11-22T12:01:00+00:00"), ("0 3 ?/2 * *", "2026-11-23T03:00:00+00:00")],
)
def test_a_question_mark_is_every_value_as_in_kubernetes(schedule, due):
    assert next_run(schedule, datetime(2026, 11, 22, 12, tzinfo=UTC)) == datetime.fromisoformat(due)


@pytest.mark.parametrize("schedule", ["0 0 31 2 *", "0 0 30 FEB *", "0 0 31 4,6 *", "0 0 5-1-2 * *"])
def test_what_is_due_on_no_day_is_never_late_and_stops_nobody(schedule):
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    assert next_run(schedule, now) > now + timedelta(days=36_000)
    assert (next_run(schedule, now) - now).total_seconds() < threading.TIMEOUT_MAX, "the operator waits for it"
