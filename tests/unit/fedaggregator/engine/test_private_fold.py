"""A fold with differential privacy: what numpy makes of clipped updates and the noise of their key, and nothing of anything else."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load, save

from fedaggregator.engine import private, spans
from fedaggregator.engine.folding import fold
from fedaggregator.engine.payloads import Payloads
from fedaggregator.errors import TooOldError
from fedapi.wire.layout import Layout
from fedapi.wire.message import ObjectRef
from fedapi.wire.privacy import Mechanism
from fedapi.wire.strategy import StrategySettings
from fedapi.wire.update import UPDATE, Payload
from fedcore.privacy.noise import normals
from fedcore.rounds.effects import Fold, Term
from fedcore.tensors import tensorfile
from fedstore.memory import MemoryStore

LAYOUT = Layout("ns", "job", "uid")
BUFFERS = ["running_mean", "count", "mask"]
PARAMETERS = ("big", "wide", "half", "bias")
SITES = 4


def tensors(seed: int, size: float = 1.0) -> dict[str, np.ndarray]:
    """Parameters of three float types, one of several blocks; a buffer, a counter and a mask."""
    rng = np.random.default_rng(seed)
    return {
        "big": (size * rng.normal(size=600_001)).astype(np.float32),
        "wide": size * rng.normal(size=(3, 3)),
        "half": (size * rng.normal(size=33)).astype(np.float16),
        "bias": (size * rng.normal(size=7)).astype(np.float32),
        "running_mean": rng.normal(size=5).astype(np.float32),
        "count": rng.integers(0, 99, 5),
        "mask": np.array([True, False]),
    }


class Job:
    """A store with a base, and folds on it."""

    def __init__(self, key: bytes = bytes(32), uid: str = "uid") -> None:
        self.store, self.layout = MemoryStore(), Layout("ns", "job", uid)
        self.payloads = Payloads(self.store, key)
        metadata = {tensorfile.METADATA: json.dumps({"buffers": BUFFERS})}
        self.base = self.store.put_once("models/base", save(tensors(0), metadata))
        self.hub_state: ObjectRef | None = None

    def terms(self, *updates: dict[str, np.ndarray], samples: int = 1) -> tuple[Term, ...]:
        made = []
        for at, update in enumerate(updates):
            data = save(update | {"mask": np.zeros(2, bool)})
            ref = self.store.put_once(f"updates/{at}-{hash(data)}", data)
            made.append(Term(f"site-{at}", {UPDATE: Payload(object=ref)}, samples * (at + 1), None))
        return tuple(made)

    def order(self, terms, strategy="FedAvg", parameters=None, round_=1, attempt=1, **values) -> Fold:
        settings = {"clip_norm": 2.0, "clipping": "Flat", "noise_multiplier": 0.5, "denominator": SITES} | values
        done = Mechanism(mode="Central", delta=1e-5, **settings)
        strategy = StrategySettings(name=strategy, parameters=parameters or {})
        return Fold(round_, attempt, self.base, strategy, terms, self.hub_state, privacy=done)

    def fold(self, order: Fold) -> dict[str, np.ndarray]:
        made = fold(self.store, self.payloads, self.layout, order, lambda: False)
        assert fold(self.store, self.payloads, self.layout, order, lambda: False) == made
        self.made = made
        return load(self.store.get(made.model.key))


def _table(job: Job) -> tensorfile.TensorFile:
    data = job.store.get(job.base.key)
    size = tensorfile.header_size(data[:8], len(data))
    return tensorfile.canonical_header(tensorfile.parsed(data[8 : 8 + size], len(data)).tensors)[1]


def noise(job: Job, order: Fold, *, own: bool = False) -> dict[str, np.ndarray]:
    """Of the model's tensors, as whoever has the key knows it; `own`: without that of earlier rounds."""
    model = _table(job)
    found = private.drawn(job.payloads, job.layout, order, order.privacy, model)
    found = replace(found, earlier=()) if own else found
    whole = spans.spans(model, frozenset(PARAMETERS), 1 << 30, apart=True)
    by_name = {span.pieces[0].name: found.of(span) for span in whole if span.remembered}
    shapes = tensors(0)
    return {name: values.reshape(shapes[name].shape) for name, values in by_name.items()}


def clipped(updates, bound: float, clipping: str) -> dict[str, np.ndarray]:
    """The sum, by the definition."""
    total = {name: np.zeros(tensors(0)[name].shape) for name in PARAMETERS}
    for update in updates:
        wide = {name: update[name].astype(np.float64) for name in PARAMETERS}
        norm = np.sqrt(sum(np.sum(values**2) for values in wide.values()))
        for name, values in wide.items():
            if clipping == "PerLayer":
                share = min(1.0, bound / np.sqrt(len(PARAMETERS)) / np.linalg.norm(values))
            else:
                share = min(1.0, bound / norm)
            total[name] += share * values
    return total


@pytest.mark.parametrize("clipping", ["Flat", "PerLayer"])
@pytest.mark.parametrize("clip_norm", [2.0, 500.0, 1e4])
def test_it_is_the_clipped_sum_over_the_plan_s_number_with_the_noise_of_its_key(clipping, clip_norm):
    job = Job()
    updates = [tensors(seed, size=0.5 * seed) for seed in range(1, 4)]  # of four that the plan asked
    order = job.order(job.terms(*updates), clipping=clipping, clip_norm=clip_norm)
    model, base = job.fold(order), tensors(0)
    total, drawn = clipped(updates, clip_norm, clipping), noise(job, order)
    for name in PARAMETERS:
        exact = base[name].astype(np.float64) + total[name] / SITES + drawn[name]
        scale = np.abs(exact).max()
        assert np.allclose(model[name], exact, rtol=0, atol=scale * (1e-3 if name == "half" else 4e-6)), name
    for name in BUFFERS:
        assert np.array_equal(model[name], base[name]), "what is no parameter stays as it is"
    assert load(job.store.get(job.made.hub_state.key)).keys() == set(PARAMETERS)


def test_the_noise_has_the_size_that_is_charged_for():
    job = Job()
    order = job.order(job.terms(tensors(1, size=0.0)), noise_multiplier=3.0, clip_norm=0.5)
    model, base = job.fold(order), tensors(0)
    change = (model["big"] - base["big"]).astype(np.float64)
    expected = 3.0 * 0.5 / SITES
    assert change.std() == pytest.approx(expected, rel=4 / np.sqrt(2 * change.size))
    assert abs(change.mean()) < 4 * expected / np.sqrt(change.size)


def test_every_site_counts_alike_whatever_it_says_of_its_samples():
    found = []
    for samples in (1, 1000):
        job = Job()
        model = job.fold(job.order(job.terms(tensors(1), tensors(2), samples=samples)))
        found.append(model["bias"].tolist())
    assert found[0] == found[1]


@pytest.mark.parametrize("terms", ["none", "without samples"])
def test_a_round_without_updates_has_its_noise_all_the_same(terms):
    job = Job()
    given = () if terms == "none" else job.terms(tensors(1), samples=0)
    order = job.order(given)
    model, base = job.fold(order), tensors(0)
    assert np.allclose(model["wide"], base["wide"] + noise(job, order)["wide"], rtol=0, atol=1e-6)
    assert not np.array_equal(model["wide"], base["wide"])


def test_no_two_sums_have_the_same_noise():
    """Else their difference would be known without any."""
    job, same = Job(), Job()
    terms, others = job.terms(tensors(1), tensors(2)), job.terms(tensors(1), tensors(3))
    first = noise(job, job.order(terms))["bias"]
    assert np.array_equal(noise(same, same.order(terms))["bias"], first)
    for order in (job.order(others), job.order(terms[:1]), job.order(terms, round_=2), job.order(terms, attempt=2)):
        assert not np.isclose(noise(job, order)["bias"], first).any()
    for other in (Job(key=bytes([1]) * 32), Job(uid="another")):
        assert not np.isclose(noise(other, other.order(terms))["bias"], first).any()


@pytest.mark.parametrize(
    ("strategy", "parameters"),
    [
        ("FedAvgM", {"momentum": 0.9, "learning_rate": 1.0}),
        ("FedAdam", {"learning_rate": 0.1, "beta1": 0.9, "beta2": 0.99, "tau": 1e-3}),
    ],
)
def test_optimizers_of_the_hub_see_the_noisy_mean_alone(strategy, parameters):
    job = Job()
    updates = [tensors(seed) for seed in (1, 2)]
    order = job.order(job.terms(*updates), strategy, parameters)
    model, base = job.fold(order), tensors(0)
    mean = clipped(updates, 2.0, "Flat")["bias"] / SITES + noise(job, order)["bias"]
    if strategy == "FedAvgM":
        expected = base["bias"] + mean
    else:
        v = 0.99 * 1e-6 + 0.01 * mean**2
        expected = base["bias"] + 0.1 * 0.1 * mean / (np.sqrt(v) + 1e-3)
    assert np.allclose(model["bias"], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("strategy", ["Median", "SCAFFOLD", "GeometricMedian", "NormClipping"])
def test_strategies_that_are_more_than_a_sum_are_refused(strategy):
    job = Job()
    numbers = {
        "SCAFFOLD": {"learning_rate": 1.0},
        "GeometricMedian": {"iterations": 8, "smoothing": 1e-6},
        "NormClipping": {"max_norm": 1.0},
    }
    order = job.order(job.terms(tensors(1)), strategy, numbers.get(strategy))
    with pytest.raises(TooOldError, match="differential privacy"):
        job.fold(order)


def test_what_is_counted_has_its_noise_and_the_sum_has_the_more():
    """Two of three updates are within the norm; of four sites that were asked one is not there, and is a half."""
    job = Job()
    updates = [tensors(1, size=0.001), tensors(2, size=0.001), tensors(3, size=9.0)]
    order = job.order(job.terms(*updates), clip_norm=2.0, noise_multiplier=0.2, count_noise=0.2)
    model, base = job.fold(order), tensors(0)
    of = private.drawn(job.payloads, job.layout, order, order.privacy, _table(job))
    assert of.scale == pytest.approx(0.2 * math.sqrt(4 / 3) * 2.0 / SITES)
    drawn = float(normals(of.key, len(of.numbers), 0, 1)[0])
    assert job.made.within == pytest.approx(0.5 + (0.5 + 0.2 * drawn) / SITES)
    change = (model["big"] - base["big"]).astype(np.float64) - clipped(updates, 2.0, "Flat")["big"] / SITES
    assert change.std() == pytest.approx(of.scale, rel=4 / np.sqrt(2 * change.size))


def test_nothing_is_counted_where_it_is_not_asked_for():
    job = Job()
    order = job.order(job.terms(tensors(1)))
    job.fold(order)
    assert job.made.within is None
    assert "count_noise" not in order.privacy.model_dump(mode="json"), "the key of its noise is what it was"
