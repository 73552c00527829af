"""A ledger on this disk, as the cases about it write and read it: entries of an accepted update each, by the aggregator's own class."""

import os
from pathlib import Path

from fedaggregator.engine.ledger import Ledger
from fedapi.wire.layout import Layout
from fedcore.ledger.note import Signer
from fedstore.objectstore import ObjectStore
from fedstore.opening import open_store

LAYOUT = Layout("bench", "job", "0b5c1f9e-0000-4000-8000-000000000001")
SEED = bytes(32)
VERIFIER = Signer(LAYOUT.ledger_origin, SEED).verifier


def written(folder: Path, count: int, batch: int) -> ObjectStore:
    """So many entries, durable after every batch."""
    store = open_store(str(folder))
    ledger = Ledger(store, LAYOUT, SEED, lambda: 1.0)
    for number in range(count):
        payloads = {"update": f"{number:064x}"}
        site = f"site-{number % 1000}"
        ledger.append("accepted", round=number // 1000, attempt=1, client=site, payloads=payloads, samples=100)
        if (number + 1) % batch == 0:
            ledger.write()
    ledger.write()
    return store


def bare(path: Path, lines: list[bytes], batch: int) -> None:
    """The same bytes appended to one file, synced after every batch."""
    with path.open("wb") as file:
        for at in range(0, len(lines), batch):
            file.write(b"".join(lines[at : at + batch]))
            file.flush()
            os.fsync(file.fileno())
