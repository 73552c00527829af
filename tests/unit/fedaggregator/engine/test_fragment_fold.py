"""A fold of one fragment: its tensors have the bits of a fold of the whole model, and all others, and what is remembered, stay."""

import json

import numpy as np
import pytest
from safetensors.numpy import load, save

from fedaggregator.engine import folding
from fedaggregator.engine.folding import fold
from fedaggregator.engine.payloads import Payloads
from fedaggregator.errors import DamagedError
from fedapi.wire.layout import Layout
from fedapi.wire.strategy import StrategySettings
from fedapi.wire.update import UPDATE, Payload
from fedcore.rounds.effects import Fold, Term
from fedcore.strategies.table import UnknownStrategyError, rules
from fedcore.tensors import tensorfile
from fedstore.memory import MemoryStore

LAYOUT = Layout("ns", "job", "uid")
NUMBERS = {"momentum": 0.9, "learning_rate": 0.7}
FRAGMENTS = [{"0.weight", "2.weight", "2.count"}, {"1.weight", "1.running_mean", "3.weight"}]


def tensors(seed):
    """Layers of several blocks, a buffer and a counter."""
    rng = np.random.default_rng(seed)
    sizes = {"0.weight": 700_000, "1.weight": 900_000, "2.weight": 400_000, "3.weight": 300_000}
    made = {name: rng.normal(size=size).astype(np.float32) for name, size in sizes.items()}
    return made | {"1.running_mean": rng.normal(size=9).astype(np.float32), "2.count": rng.integers(0, 99, 3)}


class Job:
    """Folds of updates of a job, of the fragments of its rounds alone or of the whole model."""

    def __init__(self):
        self.store = MemoryStore()
        metadata = {tensorfile.METADATA: json.dumps({"buffers": ["1.running_mean", "2.count"]})}
        self.base, self.hub_state = self.store.put_once("models/base", save(tensors(0), metadata)), None

    def fold(self, round_, names=None, fragments=2):
        """Model and memory after a round, from where the job stands."""
        terms = [self._term(round_, site, names) for site in (1, 2)]
        settings = StrategySettings(name="DiLoCo", parameters=NUMBERS, fragments=fragments)
        order = Fold(round_, 1, self.base, settings, tuple(terms), self.hub_state)
        return fold(self.store, Payloads(self.store, bytes(32)), LAYOUT, order, lambda: False)

    def _term(self, round_, site, names):
        update = {name: value for name, value in tensors(10 * round_ + site).items() if names is None or name in names}
        key = f"updates/{round_}-{site}-{len(update)}"
        return Term(f"site-{site}", {UPDATE: Payload(object=self.store.put_once(key, save(update)))}, site, None)

    def read(self, made):
        return load(self.store.get(made.model.key)), load(self.store.get(made.hub_state.key))


@pytest.mark.parametrize("far", [False, True])
def test_a_fragment_is_folded_as_in_the_whole_and_the_rest_stays(monkeypatch, far):
    monkeypatch.setattr(folding.many, "is_far", lambda _store: far)
    job = Job()
    before = load(job.store.get(job.base.key)), {}
    for round_ in (1, 2, 3, 4):
        due = FRAGMENTS[(round_ - 1) % 2]
        whole, made = job.read(job.fold(round_, fragments=None)), job.fold(round_, due)
        assert job.fold(round_, due) == made
        for was, whole_, now in zip(before, whole, job.read(made), strict=True):
            assert now.keys() == whole_.keys()
            for name, found in now.items():
                expected = whole_[name] if name in due else was.get(name, np.zeros_like(found))
                assert found.tobytes() == expected.tobytes(), (round_, name)
        job.base, job.hub_state = made.model, made.hub_state
        before = job.read(made)


@pytest.mark.parametrize("names", [None, FRAGMENTS[1], FRAGMENTS[0] - {"2.count"}], ids=["all", "another", "less"])
def test_updates_of_other_tensors_are_none(names):
    """They were never accepted: such files are not what the manifests said."""
    with pytest.raises(DamagedError, match="tensors missing"):
        Job().fold(1, names)


def test_a_strategy_that_is_not_divisible_takes_none():
    with pytest.raises(UnknownStrategyError, match="strategy FedAvg takes no fragments in this version"):
        rules(StrategySettings(fragments=2))
