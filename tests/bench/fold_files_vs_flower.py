"""The same fold as a multiple of Flower's FedAvg.aggregate_train on the same bytes: see fold_speed.py."""

from tests.bench.bench import Bench
from tests.bench.rows import Row


def measure(bench: Bench) -> Row:
    """The row."""
    speed = bench.fold_speed
    return Row("fold_files_vs_flower", speed.files / speed.flower, "x")
