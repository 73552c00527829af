"""Entries a second that a ledger takes, durable after every thousandth, beside the same bytes appended to one synced file."""

import time

from fedcore.ledger import tiles
from fedstore import ledgers as reader
from tests.bench import ledgers
from tests.bench.bench import Bench
from tests.bench.rows import Row

ENTRIES, BATCH = 30_000, 1000


def measure(bench: Bench, count: int = ENTRIES) -> Row:
    """The row."""
    folder = bench.folder("ledger")
    started = time.monotonic()
    store = ledgers.written(folder / "store", count, BATCH)
    taken = count / (time.monotonic() - started)
    lines = [data for each in tiles.of_level(count, None) for data in reader.bundle(store, ledgers.LAYOUT, each)]
    started = time.monotonic()
    ledgers.bare(folder / "bare", lines, BATCH)
    return Row("ledger_entries_per_s", taken, "1/s", count / (time.monotonic() - started))
