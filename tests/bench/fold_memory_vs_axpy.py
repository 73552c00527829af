"""The fold of 20 updates of 25 M float32 that are in memory, as a share of the BLAS bound: see fold_speed.py."""

from tests.bench.bench import Bench
from tests.bench.rows import Row


def measure(bench: Bench) -> Row:
    """The row."""
    speed = bench.fold_speed
    return Row("fold_memory_vs_axpy", speed.memory / speed.axpy, "x")
