"""Seconds of a whole secure sum of 100 sites with 1 M values, 10 of whom are lost, all in one process: see secagg_speed.py."""

from tests.bench.bench import Bench
from tests.bench.rows import Row


def measure(bench: Bench) -> Row:
    """The row."""
    return Row("secagg_100_sites_s", bench.secure_sum_100.whole_s, "s")
