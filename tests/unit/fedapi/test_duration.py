"""Durations and quorums as users write them."""

import pytest

from fedapi.duration import quorum_count, seconds


@pytest.mark.parametrize(("text", "expected"), [("90s", 90), ("10m", 600), ("1h30m", 5400), ("250ms", 0.25)])
def test_durations(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "10", "ten minutes", "-5s", "1.5h"])
def test_what_is_no_duration_is_named(text):
    with pytest.raises(ValueError, match="write for example"):
        seconds(text)


@pytest.mark.parametrize(
    ("quorum", "selected", "count"),
    [(3, 4, 3), (9, 4, 9), ("100%", 4, 4), ("60%", 4, 3), ("50%", 4, 2), ("51%", 100, 51), ("1%", 3, 1)],
)
def test_a_percentage_rounds_up_and_a_count_stays(quorum, selected, count):
    assert quorum_count(quorum, selected) == count
