"""Schedules are in UTC, whatever the zone of the instant."""

from datetime import datetime, timedelta, timezone

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
