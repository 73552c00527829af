"""The table of docs/dp-sgd.md on records, computed anew."""

import re
from pathlib import Path

import pytest

from fedtrainer.training.dpsgd.accountant import Release, epsilon, renyi_epsilon

PAGE = Path(__file__).parents[5] / "docs" / "dp-sgd.md"
ROWS = [
    tuple(map(float, row))
    for row in re.findall(
        r"^" + r"\| ([\d.]+) " * 4 + r"\| (1e-\d) " + r"\| ([\d.]+) " * 2 + r"\|$", PAGE.read_text(), re.MULTILINE
    )
]


def test_there_is_a_table():
    assert len(ROWS) == 4


@pytest.mark.parametrize(("noise", "records", "batch", "steps", "delta", "found", "by_renyi"), ROWS)
def test_it_is_right(noise, records, batch, steps, delta, found, by_renyi):
    releases = [Release(noise, min(1.0, batch / records), int(steps))]
    assert epsilon(releases, delta) == pytest.approx(found, abs=6e-4)
    assert renyi_epsilon(releases, delta) == pytest.approx(by_renyi, abs=6e-4)
