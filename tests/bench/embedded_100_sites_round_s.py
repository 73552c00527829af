"""A round of `fedloom run` with 100 sites of one rank that share trainers: from commit to commit, median after the first."""

from tests.bench.bench import Bench
from tests.bench.rows import Row


def measure(bench: Bench) -> Row:
    """The row."""
    return Row("embedded_100_sites_round_s", bench.hundred.round_s, "s")
