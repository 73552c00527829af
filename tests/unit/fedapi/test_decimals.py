"""Numbers are told in one spelling, and are the same numbers when they are read."""

import pytest

from fedapi import decimals


@pytest.mark.parametrize(
    ("value", "short"),
    [(1e-5, "1e-5"), (0.00001234567, "1.23457e-5"), (0.001, "0.001"), (1e-10, "1e-10"), (1e20, "1e20"), (-2e-7, "-2e-7"), (3.0, "3")],
)  # fmt: skip
def test_one_spelling(value, short):
    assert decimals.short(value) == short
    assert float(decimals.exact(value)) == value
    assert "e-0" not in decimals.exact(value)
