"""FedNova against the paper's algebra: gradients that a site has summed, and quadratic problems solved by many small steps."""

import numpy as np
import pytest

from fedapi.wire.training import OptimizerSettings, TrainingSettings
from fedcore.strategies.fednova import reach
from tests.unit.fedcore.strategies.aggregated import Round, aggregated


def training(momentum=0.0, learning_rate=0.05):
    return TrainingSettings(optimizer=OptimizerSettings(momentum=momentum, learning_rate=learning_rate))


def trained(curvature, optimum, start, steps, settings):
    """Steps of torch's SGD on curvature / 2 * (w - optimum)^2."""
    w, velocity = start.copy(), np.zeros_like(start)
    for _ in range(steps):
        velocity = settings.optimizer.momentum * velocity + curvature * (w - optimum)
        w = w - settings.optimizer.learning_rate * velocity
    return w - start


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("steps", [0, 1, 2, 17, 300])
def test_the_reach_of_steps_is_the_sum_of_what_each_gradient_has_in_the_update(steps, momentum):
    """With gradients that are all one, an update is minus the rate times |a|."""
    velocity = moved = 0.0
    for _ in range(steps):
        velocity = momentum * velocity + 1.0
        moved += velocity
    assert reach(steps, training(momentum)) == pytest.approx(moved, rel=1e-9)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_paper_s_update(momentum):
    settings, samples, steps = training(momentum), [1, 3, 4], [2, 40, 7]
    updates = np.random.default_rng(1).normal(size=(3, 20))
    p = np.array(samples) / 8
    norms = np.array([reach(tau, settings) for tau in steps])
    exact = (p * norms).sum() * ((p / norms)[:, None] * updates).sum(axis=0)
    found = aggregated("FedNova", updates, samples=samples, steps=steps, training=settings)
    assert np.allclose(found, exact, rtol=1e-12)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_where_all_sites_make_as_many_steps_it_is_fedavg_bit_for_bit(momentum):
    updates = np.random.default_rng(2).normal(size=(3, 100)).astype(np.float32)
    found = aggregated("FedNova", updates, samples=[1, 2, 4], steps=[13] * 3, training=training(momentum))
    assert found.tobytes() == aggregated("FedAvg", updates, samples=[1, 2, 4]).tobytes()


def test_one_site_is_plain_training():
    update = np.random.default_rng(3).normal(size=(1, 100)).astype(np.float32)
    assert aggregated("FedNova", update, samples=[7], steps=[31], training=training(0.9)).tobytes() == update.tobytes()


def converged(strategy, momentum=0.0, rounds=1500):
    """Two sites of equal curvature and unlike optima, of which one makes many more steps a round."""
    settings, optima, steps = training(momentum, 0.002), [np.array([0.0]), np.array([10.0])], [1, 30]
    w = np.array([3.0])
    for _ in range(rounds):
        updates = [trained(1.0, optimum, w, tau, settings) for optimum, tau in zip(optima, steps, strict=True)]
        w = w + aggregated(strategy, np.stack(updates), samples=[3, 1], steps=steps, training=settings)
    return float(w[0])


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_it_finds_the_optimum_of_the_weighted_objective_where_fedavg_does_not(momentum):
    """Theirs is 3/4 * 0 + 1/4 * 10; FedAvg counts the site that makes thirty steps many times."""
    assert converged("FedNova", momentum) == pytest.approx(2.5, abs=0.6)
    assert converged("FedAvg", momentum) > 8


def test_buffers_and_integers_are_averaged_by_samples():
    round_ = Round("FedNova", np.ones((2, 1), np.float32), samples=[1, 3], steps=[1, 50])
    assert round_.made(updates=np.array([[4.0], [8.0]], np.float32), parameters=False)[0].tolist() == [7.0]
    assert round_.made(np.array([5]), updates=np.array([[4], [8]]), parameters=False)[0].tolist() == [12]


def test_a_site_that_made_no_step_takes_no_part_in_the_parameters():
    found = aggregated("FedNova", np.array([[1.0], [1e3]]), samples=[1, 1], steps=[10, 0])
    assert found.tolist() == [0.5 * 0.5]
