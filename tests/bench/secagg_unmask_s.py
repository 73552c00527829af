"""Seconds of the hub from the openings to the sum of 10 sites with 25 M values, one of whom was lost: see secagg_speed.py."""

from tests.bench.bench import Bench
from tests.bench.rows import Row


def measure(bench: Bench) -> Row:
    """The row."""
    return Row("secagg_unmask_s", bench.secure_sum.unmask_s, "s")
