"""The same fold as a multiple of NVFLARE's WeightedAggregationHelper over numpy arrays: see fold_speed.py."""

from tests.bench.bench import Bench
from tests.bench.rows import Row


def measure(bench: Bench) -> Row:
    """The row."""
    speed = bench.fold_speed
    return Row("fold_memory_vs_nvflare", speed.memory / speed.nvflare, "x")
