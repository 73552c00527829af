"""The peak memory of a process that folds 20 updates of 25 M float32 from files: see fold_memory.py."""

from tests.bench import fold_memory
from tests.bench.bench import Bench
from tests.bench.rows import Row


def measure(bench: Bench) -> Row:
    """The row."""
    return Row("fold_rss_mib_20", fold_memory.peak_mib(bench.folder("fold-rss-20"), 20), "MiB")
