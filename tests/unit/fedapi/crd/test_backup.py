"""The rule of a schedule against the library that the embedded runner reads schedules with."""

import re
from datetime import UTC, datetime

import pytest
from croniter import croniter

from fedapi.crd.backup import SCHEDULE_PATTERN

GOOD = ["* * * * *", "*/5 0-6,20-23/2 1,15 JAN-MAR *", "59 23 31 12 6", "0 3 * * MON-FRI", "@daily", "@yearly"]
BAD = ["", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 7", "@reboot", "a"]


@pytest.mark.parametrize("schedule", GOOD)
def test_a_schedule_is_one_that_croniter_reads(schedule):
    assert re.fullmatch(SCHEDULE_PATTERN, schedule)
    assert croniter(schedule, datetime(2026, 1, 1, tzinfo=UTC)).get_next(datetime) > datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("schedule", BAD)
def test_what_is_none_is_refused(schedule):
    assert not re.fullmatch(SCHEDULE_PATTERN, schedule)
