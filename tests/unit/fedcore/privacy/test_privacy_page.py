"""The worked example of docs/privacy.md, computed anew."""

import math
import re
from pathlib import Path

import pytest

from fedcore.privacy.gaussian import mu_of

PAGE = Path(__file__).parents[4] / "docs" / "privacy.md"
ROWS = [
    tuple(map(float, row))
    for row in re.findall(r"^\| (\d+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", PAGE.read_text(), re.MULTILINE)
]


def test_there_is_an_example():
    assert len(ROWS) == 5


@pytest.mark.parametrize(("rounds", "epsilon", "multiplier", "noise"), ROWS)
def test_it_is_right(rounds, epsilon, multiplier, noise):
    assert multiplier == pytest.approx(math.sqrt(rounds) / mu_of(epsilon, 1e-5), abs=1e-4)
    assert noise == pytest.approx(multiplier / 10, abs=1e-5)
