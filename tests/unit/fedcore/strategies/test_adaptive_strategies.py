"""FedAdagrad, FedAdam and FedYogi against algorithm 2 of Reddi et al. 2021 in float64, over rounds; buffers are never stepped."""

import numpy as np
import pytest

from fedapi.crd.strategy import Strategy
from tests.unit.fedcore.strategies.aggregated import Round

SECOND = {
    "FedAdagrad": lambda v, d, beta2: v + d**2,
    "FedAdam": lambda v, d, beta2: beta2 * v + (1 - beta2) * d**2,
    "FedYogi": lambda v, d, beta2: v - (1 - beta2) * d**2 * np.sign(v - d**2),
}
NAMES = sorted(SECOND)


def numbers(name, learning_rate=0.1, beta1=0.9, beta2=0.99, tau=1e-3):
    given = {"learning_rate": learning_rate, "beta1": beta1, "tau": tau}
    return given if name == "FedAdagrad" else given | {"beta2": beta2}


def updates(round_, items=50):
    rng = np.random.default_rng(round_)
    return (rng.normal(size=(3, items)) * 10.0 ** rng.integers(-6, 1, items)).astype(np.float32)


SAMPLES = [1, 2, 5]


@pytest.mark.parametrize("beta1", [0.0, 0.9])
@pytest.mark.parametrize("tau", [1e-9, 1e-3, 0.1])
@pytest.mark.parametrize("name", NAMES)
def test_the_paper_s_algorithm(name, beta1, tau):
    x, m, v = np.zeros(50), np.zeros(50), np.full(50, tau**2)
    model, memory = np.zeros(50, np.float32), None
    for round_ in range(6):
        given = updates(round_)
        d = (np.array(SAMPLES)[:, None] / 8 * given).sum(axis=0, dtype=np.float64)
        m = beta1 * m + (1 - beta1) * d
        v = SECOND[name](v, d, 0.99)
        x = x + 0.1 * m / (np.sqrt(v) + tau)
        step = Round(name, given, samples=SAMPLES, **numbers(name, beta1=beta1, tau=tau))
        model, memory = step.made(model, memory)
        assert np.allclose(memory[:, 0], m, rtol=1e-4, atol=1e-12)
        assert np.allclose(memory[:, 1], v, rtol=1e-4, atol=1e-24)
        assert np.allclose(model, x, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_v_begins_with_the_square_of_tau(name):
    """So the first step of a number that is small against tau is small, too: it is no sign of a gradient alone."""
    model, _ = Round(name, np.full((1, 1), 1e-6, np.float32), **numbers(name, beta1=0.0, tau=1e-3)).made()
    assert model[0] == pytest.approx(0.1 * 1e-6 / 2e-3, rel=1e-2)


@pytest.mark.parametrize("name", NAMES)
def test_buffers_and_integers_are_averaged_and_not_stepped(name):
    round_ = Round(name, updates(1), samples=SAMPLES, **numbers(name))
    base = np.array([5.0], np.float32)
    found, memory = round_.made(base, updates=np.array([[8.0], [8.0], [16.0]], np.float32), parameters=False)
    assert (found.tolist(), memory) == ([5.0 + 13.0], None)
    assert round_.made(np.array([5]), updates=np.array([[8], [8], [16]]), parameters=False)[0].tolist() == [18]


def test_yogi_moves_its_second_moment_by_a_part_of_the_square_however_far_off():
    memory = np.array([[0.0, 100.0]], np.float32)
    _, kept = Round("FedYogi", np.ones((1, 1), np.float32), **numbers("FedYogi")).made(memory=memory)
    assert kept[0, 1] == pytest.approx(100 - 0.01)
    _, kept = Round("FedAdam", np.ones((1, 1), np.float32), **numbers("FedAdam")).made(memory=memory)
    assert kept[0, 1] == pytest.approx(99 + 0.01)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_step_is_rounded_by_itself(dtype):
    """As IEEE 754 has it, in the type of the tensor: the same bits on every processor."""
    rng = np.random.default_rng(3)
    base, update, old = (rng.normal(size=300).astype(dtype) for _ in range(3))
    memory = np.stack([old, np.abs(old)], axis=1)
    found, kept = Round("FedAdam", update[None], **numbers("FedAdam")).made(base, memory)
    d = update * dtype(1.0)
    m = dtype(0.9) * old + dtype(1 - 0.9) * d
    v = dtype(0.99) * np.abs(old) + dtype(1 - 0.99) * np.square(d)
    assert kept.tobytes() == np.stack([m, v], axis=1).tobytes()
    assert found.tobytes() == (base + dtype(0.1) * m / (np.sqrt(v) + dtype(1e-3))).tobytes()


@pytest.mark.parametrize(
    ("name", "field"), [("FedAdagrad", "fedAdagrad"), ("FedAdam", "fedAdam"), ("FedYogi", "fedYogi")]
)
def test_its_numbers_have_the_names_that_it_reads(name, field):
    asked = Strategy.model_validate({"name": name, field: {"learningRate": "0.5"}})
    assert asked.parameters() == numbers(name, learning_rate=0.5, beta1=0.0 if name == "FedAdagrad" else 0.9)
