"""The fold of 20 updates of 25 M float32 from files in the page cache, verified, as a share of the BLAS bound: see fold_speed.py."""

from tests.bench.bench import Bench
from tests.bench.rows import Row


def measure(bench: Bench) -> Row:
    """The row."""
    speed = bench.fold_speed
    return Row("fold_files_vs_axpy", speed.files / speed.axpy, "x")
