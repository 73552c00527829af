"""A round of `fedloom run` with 1,000 sites that add one to nine numbers: from commit to commit, median after the first."""

from tests.bench.bench import Bench
from tests.bench.rows import Row


def measure(bench: Bench) -> Row:
    """The row."""
    return Row("embedded_1000_sites_round_s", bench.thousand.round_s, "s")
