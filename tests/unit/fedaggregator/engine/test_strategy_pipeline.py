"""The seams of a fold, each with a strategy of this test: weights by inner products, buffers apart, all updates at once, memory."""

import json
import struct
from fractions import Fraction

import numpy as np
import pytest
from safetensors.numpy import load, save

from fedaggregator.engine.folding import ModelNotFiniteError, fold
from fedaggregator.engine.payloads import Payloads
from fedaggregator.errors import DamagedError
from fedapi.wire.layout import Layout
from fedapi.wire.message import ObjectRef
from fedapi.wire.strategy import StrategySettings
from fedapi.wire.training import OptimizerSettings, TrainingSettings
from fedapi.wire.update import UPDATE, Payload
from fedcore.rounds.effects import Fold, Term
from fedcore.strategies import fedavg
from fedcore.strategies.strategy import Strategy
from fedcore.strategies.table import STRATEGIES
from fedcore.strategies.weighing import TooFewUpdatesError
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


def median(terms, accumulator, _parameters):
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


def within(cohort, parameters):
    """Leaves out updates whose norm is over a limit."""
    return tuple(Fraction(bool(square <= parameters["limit"] ** 2)) for square in np.diag(cohort.inner_products))


def test_weights_may_come_from_inner_products_of_what_is_in_the_updates(register):
    name = register(Strategy("Within", within, frozenset({"limit"}), gram=True))
    job = Round()
    base = load(job.store.get(job.base.key))
    terms = [job.term(1), job.term(2, big=np.full(600_000, 50, np.float32)), job.term(3)]
    model = job.fold(name, *terms, limit=2000.0)
    assert np.array_equal(model["big"], base["big"] + (tensors(1)["big"] + tensors(3)["big"]))
    state = load(job.store.get(job.hub_state.key))
    assert {tensor: values.shape[1:] for tensor, values in state.items()} == dict.fromkeys(PARAMETERS, (0,))
    model, state = job.base, job.hub_state
    assert job.fold(name, *terms, limit=1e-9).keys() == base.keys()
    assert (job.base, job.hub_state) == (model, state), "no update counts: the model stays"


def test_inner_products_are_of_parameters_in_every_round(register):
    """A buffer, whose values have another scale, is no part of the distance; the folded model does not say which it is."""
    seen = []

    def looking(cohort, parameters):
        seen.append(cohort.inner_products.copy())
        return fedavg.weights(cohort, parameters)

    name = register(Strategy("Looking", looking, gram=True))
    job = Round()
    for round_ in (1, 2):
        seen.clear()
        far = np.full(5, 1e6 * round_, np.float32)
        job.fold(name, *(job.term(10 * round_ + seed, running_mean=far) for seed in range(4)))
        updates = [tensors(10 * round_ + seed) for seed in range(4)]
        flat = [
            np.concatenate([u[tensor].astype(np.float64).ravel() for tensor in sorted(PARAMETERS)]) for u in updates
        ]
        exact = np.array(flat) @ np.array(flat).T
        assert np.allclose(seen[0], exact, rtol=1e-5, atol=1e-5 * exact.max())
        assert seen[0].tobytes() == seen[1].tobytes(), "of the second fold of the same round"


def test_the_seed_and_the_plan_s_training_reach_a_strategy(register):
    seen = []

    def looking(cohort, parameters):
        seen.append((cohort.seed, cohort.training.optimizer.momentum, [(u.client, u.steps) for u in cohort.updates]))
        return fedavg.weights(cohort, parameters)

    register(Strategy("Looking", looking))
    job = Round()
    order = Fold(
        1, 1, job.base, StrategySettings(name="Looking"), (job.term(1), job.term(2, samples=0)), None,
        TrainingSettings(optimizer=OptimizerSettings(momentum=0.5)), 77,
    )  # fmt: skip
    fold(job.store, Payloads(job.store, bytes(32)), LAYOUT, order, lambda: False)
    assert seen == [(77, 0.5, [("site-1", None)])]


def first_alone(cohort, _parameters):
    return tuple(Fraction(index == 0) for index in range(len(cohort.updates)))


def test_buffers_and_integers_may_count_otherwise_than_parameters(register):
    """In every round: the file at the hub says which is which, though it holds no number."""
    name = register(Strategy("Apart", first_alone, buffers=fedavg.weights))
    job = Round()
    for round_ in (1, 2, 3):
        base = load(job.store.get(job.base.key))
        seeds = (10 * round_, 10 * round_ + 1)
        model = job.fold(name, job.term(seeds[0], samples=1), job.term(seeds[1], samples=3))
        first, second = (tensors(seed) for seed in seeds)
        for tensor in ("big", "wide", "bias"):
            assert np.array_equal(model[tensor], base[tensor] + first[tensor]), tensor
        mean = np.float32(0.25) * first["running_mean"] + np.float32(0.75) * second["running_mean"]
        assert np.array_equal(model["running_mean"], base["running_mean"] + mean)
        assert np.array_equal(model["count"], base["count"] + np.rint(first["count"] / 4 + 0.75 * second["count"]))
        assert job.hub_state is not None


def test_a_strategy_without_memory_may_step_by_itself(register):
    """To parameters alone: a buffer gets the mean as it is."""

    def half(base, update, memory, _parameters):
        return base + np.float32(0.5) * update, memory

    name = register(Strategy("Half", fedavg.weights, optimize=half))
    job = Round()
    for round_ in (1, 2):
        base = load(job.store.get(job.base.key))
        model = job.fold(name, job.term(round_))
        update = tensors(round_)
        assert np.array_equal(model["bias"], base["bias"] + np.float32(0.5) * update["bias"])
        assert np.array_equal(model["running_mean"], base["running_mean"] + update["running_mean"])


def test_memory_begins_with_the_numbers_of_its_strategy(register):
    name = register(
        Strategy("Begins", fedavg.weights, frozenset({"rate"}), memory=2, start=lambda given: (3.0, given["rate"]))
    )
    job = Round()
    job.fold(name, job.term(1), rate=0.25)
    for values in load(job.store.get(job.hub_state.key)).values():
        assert (values == [3.0, 0.25]).all()


def largest(base, terms):
    return np.max([base + update for _, update in terms], axis=0)


def test_integers_have_a_rule_of_their_strategy(register):
    name = register(Strategy("Largest", fedavg.weights, integers=largest))
    job = Round()
    base = load(job.store.get(job.base.key))["count"]
    model = job.fold(name, *(job.term(seed) for seed in (1, 2, 3)))
    assert np.array_equal(model["count"], base + np.max([tensors(seed)["count"] for seed in (1, 2, 3)], axis=0))


def test_fewer_updates_than_a_strategy_is_defined_for_are_told(register):
    name = register(Strategy("Three", fedavg.weights, least=lambda _: 3))
    job = Round()
    with pytest.raises(TooFewUpdatesError, match="strategy Three needs 3 updates with samples, 2 came"):
        job.fold(name, job.term(1), job.term(2), job.term(3, samples=0))


def test_an_update_that_is_damaged_while_it_is_weighed_is_named(register):
    name = register(Strategy("Within", within, frozenset({"limit"}), gram=True))
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
