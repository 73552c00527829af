"""The aggregator's processor time per round with 1,000 sites over that with 250: 4 where it grows as sites do."""

from tests.bench.bench import Bench
from tests.bench.rows import Row


def measure(bench: Bench) -> Row:
    """The row."""
    return Row("round_cpu_growth", bench.crowds[1000].cpu_s / bench.crowds[250].cpu_s, "x")
