"""How many times as long Flower's FedMedian takes as a whole fold here by the strategy Median: 20 updates of 2 M float32.

Ours is what a round really does: updates are read from files in the page cache and verified (as bytes that this process has
seen before, when they came), the model is written to the store. Theirs are bytes in memory, as a ServerApp has them, and its result stays there. Medians of repeats, one after the other.
"""

import time
from pathlib import Path
from statistics import median

import numpy as np
from safetensors.numpy import load, save

from fedaggregator.engine.folding import fold
from fedaggregator.engine.payloads import Payloads
from fedapi.wire.layout import Layout
from fedapi.wire.message import ObjectRef
from fedapi.wire.strategy import StrategySettings
from fedapi.wire.update import UPDATE, Payload
from fedcore.rounds.effects import Fold, Term
from fedcore.tensors.arithmetic import Array
from fedstore.disk import DiskStore
from tests.bench import flower
from tests.bench.bench import Bench
from tests.bench.rows import Row

SITES, ITEMS, REPEATS = 20, 2_000_000, 7
_LAYOUT = Layout("bench", "median", "uid")


def measure(bench: Bench) -> Row:
    """The row."""
    ours, found = _ours(bench.folder("median"))
    theirs, sample = flower.median(SITES, ITEMS, 3)
    print(
        "   Flower:",
        " ".join(f"{value:.3f}" for value in theirs),
        "  ours:",
        " ".join(f"{value:.3f}" for value in ours),
    )
    if not np.allclose(found, sample, rtol=1e-6, atol=1e-7):
        raise RuntimeError("the two medians differ")
    return Row("median_vs_flower", median(theirs) / median(ours), "x")


def _ours(folder: Path) -> tuple[list[float], list[float]]:
    """Seconds of each fold, and the first values of its model, whose base is zeros."""
    store = DiskStore(folder)
    payloads = Payloads(store, bytes(32))
    base = _came(store, payloads, "models/base", np.zeros(ITEMS, np.float32))
    terms = []
    for site in range(SITES):
        values = np.random.default_rng(site).normal(size=ITEMS).astype(np.float32)
        terms.append(
            Term(str(site), {UPDATE: Payload(object=_came(store, payloads, f"updates/{site}", values))}, 1, None)
        )
    seconds, first = [], list[float]()
    for round_ in range(1, REPEATS + 1):
        order = Fold(round_, 1, base, StrategySettings(name="Median"), tuple(terms))
        began = time.perf_counter()
        made = fold(store, payloads, _LAYOUT, order, lambda: False)
        seconds.append(time.perf_counter() - began)
        first = load(store.get(made.model.key))["w"][:100].tolist()
    return seconds, first


def _came(store: DiskStore, payloads: Payloads, key: str, values: Array) -> ObjectRef:
    """An object that this process has hashed on its way in, as an aggregator has."""
    data = save({"w": values})
    with store.writer(key, size=len(data)) as made:
        writer = payloads.fingerprints.noted(made)
        writer.write(data)
        return writer.finish()
