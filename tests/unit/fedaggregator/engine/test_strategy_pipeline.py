"""The seams of a fold, each with a strategy of this test: weights by content, a rule over all updates at once, memory."""

import json
import struct
from fractions import Fraction

import numpy as np
import pytest
from safetensors.numpy import load, save

from fedaggregator.engine.folding import ModelNotFiniteError, fold
from fedaggregator.engine.payloads import Payloads
from fedaggregator.errors import DamagedError
from fedapi.wire.job import StrategySettings
from fedapi.wire.message import ObjectRef
from fedapi.wire.site import UPDATE, Payload
from fedapi.wire.store import Layout
from fedcore.rounds.effects import Fold, Term
from fedcore.strategies import fedavg
from fedcore.strategies.strategy import Strategy
from fedcore.strategies.table import STRATEGIES
from fedcore.tensors import tensorfile
from fedcore.tensors.tensorfile import MalformedTensorFileError
from fedstore.memory import MemoryStore

LAYOUT = Layout("ns", "job", "uid")


def tensors(seed: int) -> dict[str, np.ndarray]:
    """Parameters of three float types, one of several blocks; a buffer, a counter and a mask."""
    rng = np.random.default_rng(seed)
    return {
        "big": rng.normal(size=600_000).astype(np.float32),
        "wide": rng.normal(size=(3, 2)),
        "half": rng.normal(size=33).astype(np.float16),
        "bias": rng.normal(size=7).astype(np.float32),
        "running_mean": rng.normal(size=5).astype(np.float32),
        "count": rng.integers(0, 99, 5),
        "mask": np.array([True, False]),
    }


BUFFERS = ["running_mean", "count", "mask"]
PARAMETERS = {"big", "wide", "half", "bias"}


class Round:
    """A store with a base, and folds on it."""

    def __init__(self) -> None:
        self.store, self.number = MemoryStore(), 0
        metadata = {tensorfile.METADATA: json.dumps({"buffers": BUFFERS})}
        self.base = self.store.put_once("models/base", save(tensors(0), metadata))
        self.hub_state: ObjectRef | None = None

    def term(self, seed: int, samples: int = 1, **changed: np.ndarray) -> Term:
        update = self.store.put_once(f"updates/{seed}", save(tensors(seed) | {"mask": np.zeros(2, bool)} | changed))
        return Term(f"site-{seed}", {UPDATE: Payload(object=update)}, samples, None)

    def fold(self, strategy: str, *terms: Term, **parameters: float) -> dict[str, np.ndarray]:
        self.number += 1
        settings = StrategySettings(name=strategy, parameters=parameters)
        order = Fold(self.number, 1, self.base, settings, terms, self.hub_state)
        made = fold(self.store, Payloads(self.store, bytes(32)), LAYOUT, order, lambda: False)
        assert fold(self.store, Payloads(self.store, bytes(32)), LAYOUT, order, lambda: False) == made
        self.base, self.hub_state = made.model, made.hub_state
        return load(self.store.get(made.model.key))


@pytest.fixture
def register(monkeypatch):
    def put(strategy: Strategy) -> str:
        monkeypatch.setitem(STRATEGIES, strategy.name, strategy)
        return strategy.name

    return put


def median(terms, accumulator):
    stacked = np.stack([block.copy() for _, block in terms])
    accumulator.total[:] = np.median(stacked, axis=0)
    return accumulator.total


def test_a_rule_over_all_updates_at_once_stacks_the_stream(register):
    name = register(Strategy("Median", fedavg.weights, combine=median))
    job = Round()
    base = load(job.store.get(job.base.key))
    model = job.fold(name, *(job.term(seed) for seed in range(1, 6)))
    for tensor in ("big", "wide", "bias", "half", "running_mean"):
        middle = np.median(np.stack([tensors(seed)[tensor] for seed in range(1, 6)]), axis=0)
        exact = base[tensor].astype(np.float64) + middle
        assert np.allclose(model[tensor], exact, rtol=1e-3 if tensor == "half" else 1e-6)
    assert (model["mask"] == base["mask"]).all()


def within(updates, parameters):
    """Leaves out updates whose norm is over a limit: two passes over the files, of one block each."""
    norms = [sum(float(np.square(block, dtype=np.float64).sum()) for block in update.blocks()) for update in updates]
    return tuple(Fraction(norm <= parameters["limit"] ** 2) for norm in norms)


def test_weights_may_come_from_what_is_in_the_updates(register):
    name = register(Strategy("Within", within, frozenset({"limit"})))
    job = Round()
    base = load(job.store.get(job.base.key))
    terms = [job.term(1), job.term(2, big=np.full(600_000, 50, np.float32)), job.term(3)]
    model = job.fold(name, *terms, limit=2000.0)
    assert np.array_equal(model["big"], base["big"] + (tensors(1)["big"] + tensors(3)["big"]))
    assert job.fold(name, *terms, limit=1e-9).keys() == base.keys()
    assert job.base.key == LAYOUT.model(1, job.base.sha256), "no update counts: the model stays"


def test_an_update_that_is_damaged_while_it_is_weighed_is_named(register):
    name = register(Strategy("Within", within, frozenset({"limit"})))
    job = Round()
    terms = [job.term(1), job.term(2)]
    key = terms[1].payloads[UPDATE].object.key
    data = bytearray(job.store.get(key))
    data[-9] ^= 1
    job.store._objects[key] = bytes(data)
    with pytest.raises(DamagedError) as error:
        job.fold(name, *terms, limit=2000.0)
    assert set(error.value.found) == {key}


def counting(base, update, memory, parameters):
    """Keeps the sum of all updates, and how many rounds there were; steps by the first times the second."""
    memory = memory + np.stack([update, np.ones_like(update)], axis=1)
    return base + memory[:, 0] * memory[:, 1] * update.dtype.type(parameters["rate"]), memory


def test_memory_is_kept_of_parameters_alone(register):
    name = register(Strategy("Counting", fedavg.weights, frozenset({"rate"}), optimize=counting, memory=2))
    job = Round()
    expected = {tensor: values.astype(np.float64) for tensor, values in tensors(0).items()}
    total = dict.fromkeys(expected, 0.0)
    for round_, seed in enumerate((1, 2, 3), 1):
        model = job.fold(name, job.term(seed), rate=0.5)
        for tensor, values in tensors(seed).items():
            total[tensor] = total[tensor] + values.astype(np.float64)
            step = total[tensor] * round_ * 0.5 if tensor in PARAMETERS else values
            if tensor != "mask":
                expected[tensor] = expected[tensor] + step
    kept = load(job.store.get(job.hub_state.key))
    assert kept.keys() == PARAMETERS
    for tensor in PARAMETERS:
        assert kept[tensor].shape == (tensors(0)[tensor].size, 2)
        assert kept[tensor].dtype == (np.float64 if tensor == "wide" else np.float32)
        assert np.allclose(kept[tensor][:, 0], np.ravel(total[tensor]), rtol=1e-3, atol=1e-5)
        assert (kept[tensor][:, 1] == 3).all()
    for tensor, values in expected.items():
        tolerance = 2e-2 if tensor == "half" else 1e-5
        assert np.allclose(model[tensor], values, rtol=tolerance, atol=tolerance), tensor
    assert job.hub_state.key == LAYOUT.hub_state(3, job.hub_state.sha256)


def squaring(base, update, memory, _parameters):
    """As adaptive optimizers do: by the root of a sum of squares, which overflows long before the step does."""
    memory = memory + np.square(update)[:, None]
    return base + update / (1 + np.sqrt(memory[:, 0])), memory


@pytest.mark.parametrize("tensor", ["big", "wide", "bias"])
def test_memory_that_is_no_number_is_never_committed(register, tensor):
    """The model would be finite, this round and each one after it, and never move again."""
    name = register(Strategy("Squaring", fedavg.weights, optimize=squaring, memory=1))
    job = Round()
    job.fold(name, job.term(1))
    before = set(job.store.keys(""))
    large = tensors(2)[tensor].copy()
    large.flat[-1] = 1e200 if tensor == "wide" else 3e37
    term = job.term(2, **{tensor: large})
    with pytest.raises(ModelNotFiniteError, match=f"remembers of tensor '{tensor}'"):
        job.fold(name, term)
    assert set(job.store.keys("")) == before | {term.payloads[UPDATE].object.key}


def test_without_an_update_that_counts_memory_stays(register):
    name = register(Strategy("Counting", fedavg.weights, frozenset({"rate"}), optimize=counting, memory=2))
    job = Round()
    job.fold(name, job.term(1), rate=1)
    before = job.base, job.hub_state
    job.fold(name, job.term(2, samples=0), rate=1)
    assert (job.base, job.hub_state) == before
    job.fold(name, rate=1)
    assert (job.base, job.hub_state) == before


@pytest.mark.parametrize("position", [0, 9, 30, 700, -1])
def test_damaged_memory_is_named_alone(register, position):
    name = register(Strategy("Counting", fedavg.weights, frozenset({"rate"}), optimize=counting, memory=2))
    job = Round()
    job.fold(name, job.term(1), rate=1)
    data = bytearray(job.store.get(job.hub_state.key))
    data[position] ^= 0x20
    job.store._objects[job.hub_state.key] = bytes(data)
    with pytest.raises(DamagedError) as error:
        job.fold(name, job.term(2), rate=1)
    assert set(error.value.found) == {job.hub_state.key}


def test_memory_of_another_model_is_not_taken(register):
    name = register(Strategy("Counting", fedavg.weights, frozenset({"rate"}), optimize=counting, memory=2))
    job = Round()
    job.hub_state = job.store.put_once("hubstate/other", save({"big": np.zeros((3, 2), np.float32)}))
    with pytest.raises(DamagedError, match="hubstate/other"):
        job.fold(name, job.term(1), rate=1)


def header(metadata: object) -> bytes:
    return json.dumps({"__metadata__": {tensorfile.METADATA: metadata}}).encode()


def test_buffers_are_named_in_metadata():
    text = header(json.dumps({"buffers": ["a", "b"], "other": 1}))
    assert tensorfile.parsed(text, 8 + len(text)).buffers == {"a", "b"}
    assert tensorfile.parsed(b"{}", 10).buffers == frozenset()


@pytest.mark.parametrize("metadata", [5, "", "[]", "{", '{"buffers": 3}', '{"buffers": [1]}', "\ud800", "[" * 100_000])
def test_metadata_that_is_none(metadata):
    text = header(metadata)
    with pytest.raises(MalformedTensorFileError):
        tensorfile.parsed(text, 8 + len(text))


def test_a_canonical_header_says_no_buffers():
    text = header(json.dumps({"buffers": ["a"]}))
    data, table = tensorfile.canonical_header(tensorfile.parsed(text, 8 + len(text)).tensors)
    assert (table.buffers, struct.unpack("<Q", data[:8])[0]) == (frozenset(), len(data) - 8)
