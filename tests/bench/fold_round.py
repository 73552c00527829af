"""A round to be folded: a base and updates of 25 M float32 in a store on disk, as they are when the last one was accepted.

Used by fold_speed.py and fold_memory.py. The process that makes it has hashed every byte, as an aggregator has. Layers are
of ResNet-50's sizes. More updates than there is content for are further names of the same files: each is read as any other.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from fedaggregator.engine import blocks, folding
from fedaggregator.engine.blocks import Block, Plan
from fedaggregator.engine.payloads import Payloads, Sent
from fedaggregator.engine.sources import Base, Updates
from fedaggregator.engine.spans import spans
from fedapi.wire.layout import Layout
from fedapi.wire.message import ObjectRef
from fedapi.wire.strategy import StrategySettings
from fedapi.wire.update import Payload
from fedcore.rounds.effects import Fold, Term
from fedcore.strategies import weighing
from fedcore.strategies.strategy import Cohort, Update
from fedcore.tensors import tensorfile
from fedcore.tensors.tensorfile import Tensor, TensorFile
from fedstore.disk import DiskStore

LAYERS = (*(4_718_592,) * 4, *(1_048_576,) * 5, *(262_144,) * 3, *(4_096,) * 20, *(64,) * 40)
ITEMS = sum(LAYERS)
LAYOUT = Layout("bench", "fold", "uid")
_PART = 1 << 18  # items at a time


def table() -> tuple[bytes, TensorFile]:
    """Header and tensors of every file."""
    return tensorfile.canonical_header(
        Tensor(f"layer{index:02}", "F32", (items,), 0, 4 * items) for index, items in enumerate(LAYERS)
    )


@dataclass(frozen=True)
class Round:
    """What an aggregator has before it folds."""

    folder: Path
    store: DiskStore
    payloads: Payloads
    order: Fold

    @staticmethod
    def made(folder: Path, updates: int, contents: int) -> "Round":
        """With so many updates, of so many unlike contents."""
        store = DiskStore(folder)
        payloads = Payloads(store, bytes(32))
        base, *refs = [_put(store, payloads, f"objects/{seed}", seed) for seed in range(contents + 1)]
        terms = []
        for index in range(updates):
            ref = refs[index % contents]
            if index >= contents:
                key = f"{ref.key}-{index}"
                os.link(folder / ref.key, folder / key)
                ref = ref.model_copy(update={"key": key})
            terms.append(Term(f"site-{index}", {"update": Payload(object=ref)}, index + 1, None))
        return Round(folder, store, payloads, Fold(1, 1, base, StrategySettings(), tuple(terms)))

    @property
    def files(self) -> list[Path]:
        """Of the updates."""
        return [self.folder / term.payloads["update"].object.key for term in self.order.terms]

    @cached_property
    def weights(self) -> list[float]:
        """FedAvg's."""
        rules = folding.strategy_rules(self.order.strategy)
        cohort = Cohort(tuple(Update(term.samples, term.steps) for term in self.order.terms))
        return [float(weight.parameters) for weight in weighing.weighed(rules, cohort).weights]

    def blocks(self) -> Iterator[Block]:
        """The next model, as the engine computes it: read, verified, summed, added to the base, looked through for NaN."""
        rules = folding.strategy_rules(self.order.strategy)
        cohort = Cohort(tuple(Update(term.samples, term.steps) for term in self.order.terms))
        sent = [Sent(t.payloads["update"], self.order.place("uid", t, "update")) for t in self.order.terms]
        with ExitStack() as files:
            base = Base.opened(self.payloads, self.order.base, files)
            parts = spans(table()[1], frozenset(), folding.block_bytes(rules, len(sent), is_far=False))
            opened = Updates(self.payloads, base, parts).opened(sent, files)
            terms = tuple(zip(weighing.weighed(rules, cohort).weights, opened, strict=True))
            yield from blocks.blocks(Plan(rules, parts, base.source(parts), None, terms, (), is_far=False))

    def fold(self) -> ObjectRef:
        """All of it, the next model durable in the store."""
        return folding.fold(self.store, self.payloads, LAYOUT, self.order, lambda: False).model


def _put(store: DiskStore, payloads: Payloads, key: str, seed: int) -> ObjectRef:
    header, file = table()
    random = np.random.default_rng(seed)
    with store.writer(key, size=file.size) as made:
        writer = payloads.fingerprints.noted(made)
        writer.write(header)
        for begin in range(0, ITEMS, _PART):
            part = random.standard_normal(min(_PART, ITEMS - begin), dtype=np.float32)
            part *= np.float32(0.01)
            writer.write(part.data.cast("B"))
        return writer.finish()
