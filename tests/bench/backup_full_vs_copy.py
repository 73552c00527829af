"""Seconds of the first backup of a job of 100 rounds with a model of 100 MiB, volume to volume, beside a plain copy of the same bytes."""

from tests.bench.bench import Bench
from tests.bench.rows import Row


def measure(bench: Bench) -> Row:
    """The row."""
    found = bench.backups
    return Row("backup_full_vs_copy", found.full_s, "s", found.copy_s)
