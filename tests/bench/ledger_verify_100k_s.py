"""Seconds in which a ledger of 100,000 entries is verified, beside those of parsing and hashing its entries and no more."""

import hashlib
import json
import time

from fedcore.ledger import tiles
from fedstore import ledgeraudit
from fedstore import ledgers as reader
from tests.bench import ledgers
from tests.bench.bench import Bench
from tests.bench.rows import Row

ENTRIES, BATCH = 100_000, 10_000


def measure(bench: Bench, count: int = ENTRIES) -> Row:
    """The row."""
    store = ledgers.written(bench.folder("ledger") / "store", count, BATCH)
    started = time.monotonic()
    ledgeraudit.verified(store, ledgers.LAYOUT, ledgers.VERIFIER)
    took = time.monotonic() - started
    lines = [data for each in tiles.of_level(count, None) for data in reader.bundle(store, ledgers.LAYOUT, each)]
    started = time.monotonic()
    for line in lines:
        json.loads(line)
        hashlib.sha256(line).digest()
    return Row("ledger_verify_100k_s", took, "s", time.monotonic() - started)
