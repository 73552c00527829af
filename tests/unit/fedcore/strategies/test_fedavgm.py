"""FedAvgM against the formula of the paper in float64, over rounds, restarts and kills."""

import numpy as np
import pytest
from safetensors.numpy import load

from fedapi.crd.strategy import Strategy
from fedapi.wire.strategy import StrategySettings
from fedcore.strategies.fedavgm import optimize
from tests.property.fedaggregator.simulation import CrashingStore, Hub, job, update_of

SITES, ROUNDS = ("a", "b", "c"), 4


def settings(momentum: float, learning_rate: float) -> StrategySettings:
    return StrategySettings(name="FedAvgM", parameters={"momentum": momentum, "learning_rate": learning_rate})


def run(hub: Hub) -> Hub:
    hub.act(hub.start)
    hub.act(hub.hear, *SITES)
    while not hub.finished():
        for client in SITES:
            hub.act(hub.evaluate, client)
        for client in SITES:
            hub.act(hub.deliver, client)
    return hub


def reference(momentum: float, learning_rate: float) -> list[np.ndarray]:
    """w of every round, as the paper has it: v <- beta v + delta, w <- w - eta v, with delta the other way round."""
    w, v, found = np.zeros((4, 5)), np.zeros((4, 5)), []
    for round_ in range(1, ROUNDS + 1):
        updates = [update_of(client, round_) for client in SITES]
        total = sum(samples for _, samples in updates)
        delta = -sum(samples / total * load(data)["w"].astype(np.float64) for data, samples in updates)
        v = momentum * v + delta
        w = w - learning_rate * v
        found.append(w)
    return found


@pytest.mark.parametrize(("momentum", "learning_rate"), [(0.9, 1.0), (0.5, 0.25), (0.0, 0.1)])
def test_the_paper_s_formula(momentum, learning_rate):
    hub = run(Hub(job(SITES, rounds=ROUNDS, strategy=settings(momentum, learning_rate))))
    models = [load(hub.store.get(commit.model.key))["w"] for commit in hub.commits()[1:]]
    for model, exact in zip(models, reference(momentum, learning_rate), strict=True):
        assert np.allclose(model, exact, rtol=1e-5, atol=1e-5)


def test_without_momentum_it_is_fedavg():
    plain = run(Hub(job(SITES, rounds=ROUNDS)))
    same = run(Hub(job(SITES, rounds=ROUNDS, strategy=settings(0.0, 1.0))))
    assert [c.model.sha256 for c in same.commits()] == [c.model.sha256 for c in plain.commits()]
    assert not any(commit.hub_state for commit in plain.commits())


def test_a_kill_at_any_write_gives_the_same_bits():
    straight = run(Hub(job(SITES, rounds=ROUNDS, strategy=settings(0.9, 0.5))))
    writes = straight.store.writes
    expected = [(commit.model, commit.hub_state) for commit in straight.commits()]
    for write in range(0, writes, 7):
        hub = Hub(job(SITES, rounds=ROUNDS, strategy=settings(0.9, 0.5)), CrashingStore())
        hub.store.arm(write, before=bool(write % 2))
        assert run(hub).restarts == 1
        assert [(commit.model, commit.hub_state) for commit in hub.commits()] == expected


def test_a_changed_number_acts_at_the_next_plan():
    hub = Hub(job(SITES, rounds=2, strategy=settings(0.9, 1.0)))
    hub.start()
    hub.hear(*SITES)
    hub.with_config(strategy=settings(0.0, 0.5))
    hub.recover()
    hub.hear(*SITES)
    for _ in range(2):
        for client in SITES:
            hub.deliver(client)
    assert np.allclose(load(hub.store.get(hub.commits()[1].model.key))["w"], reference(0.9, 1.0)[0], rtol=1e-5)
    second = load(hub.store.get(hub.commits()[2].model.key))["w"]
    step = reference(0.0, 0.5)
    assert np.allclose(second, reference(0.9, 1.0)[0] + step[1] - step[0], rtol=1e-5)


def test_products_and_sums_are_rounded_one_by_one():
    rng = np.random.default_rng(5)
    base, update, velocity = (rng.normal(size=1000).astype(np.float32) for _ in range(3))
    model, memory = optimize(base, update, velocity[:, None], {"momentum": 0.9, "learning_rate": 0.3})
    exact = (np.float64(np.float32(0.9)) * velocity).astype(np.float32)
    exact = (exact.astype(np.float64) + update).astype(np.float32)
    assert memory[:, 0].tobytes() == exact.tobytes()
    step = (np.float64(np.float32(0.3)) * exact).astype(np.float32)
    assert model.tobytes() == (base.astype(np.float64) + step).astype(np.float32).tobytes()


def test_its_numbers_have_the_names_that_it_reads():
    asked = Strategy.model_validate({"name": "FedAvgM", "fedAvgM": {"momentum": "0.5"}})
    assert asked.parameters() == {"momentum": 0.5, "learning_rate": 1.0}
