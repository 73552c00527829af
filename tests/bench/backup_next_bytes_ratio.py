"""Bytes that the backup after one more round copies, per byte that this round has added to the store."""

from tests.bench.bench import Bench
from tests.bench.rows import Row


def measure(bench: Bench) -> Row:
    """The row."""
    found = bench.backups
    return Row("backup_next_bytes_ratio", found.after.new_bytes / found.round_bytes, "ratio")
