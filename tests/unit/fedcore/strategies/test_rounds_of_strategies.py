"""Every strategy that the hub alone computes, over rounds of the real engine: kills, and the order of arrival, change no bit."""

import pytest

from fedapi.wire.strategy import StrategySettings
from fedapi.wire.training import TrainingSettings
from tests.property.fedaggregator.simulation import CrashingStore, Hub, job

SITES, ROUNDS = tuple("abcdefg"), 3
ADAPTIVE = {"learning_rate": 0.1, "beta1": 0.9, "tau": 1e-3}
STRATEGIES = {
    "FedAdagrad": ADAPTIVE,
    "FedAdam": ADAPTIVE | {"beta2": 0.99},
    "FedYogi": ADAPTIVE | {"beta2": 0.99},
    "FedNova": {},
    "Median": {},
    "TrimmedMean": {"byzantine": 1},
    "Krum": {"byzantine": 1},
    "MultiKrum": {"byzantine": 1},
    "GeometricMedian": {"iterations": 8, "smoothing": 1e-6},
    "Bulyan": {"byzantine": 1},
    "NormClipping": {"max_norm": 1.0},
}
MIXED = [
    ("Median", {"name": "NearestNeighbourMixing", "byzantine": 1}),
    ("Krum", {"name": "NearestNeighbourMixing", "byzantine": 1}),
    ("TrimmedMean", {"name": "Bucketing", "bucket_size": 2}),
]
CASES = [*((name, None) for name in STRATEGIES), *MIXED]


def of(name, pre) -> Hub:
    settings = StrategySettings.model_validate({"name": name, "parameters": STRATEGIES[name], "pre_aggregation": pre})
    training = TrainingSettings(epochs=2)  # of which a site of this simulation may have made its two steps
    return Hub(job(SITES, rounds=ROUNDS, strategy=settings, training=training), CrashingStore())


def run(hub: Hub, order=SITES) -> Hub:
    hub.act(hub.start)
    hub.act(hub.hear, *order)
    for _ in range(10 * ROUNDS):
        for client in order:
            hub.act(hub.evaluate, client)
        for client in order:
            hub.act(hub.deliver, client)
        if hub.finished():
            return hub
    raise AssertionError(f"the job does not end: {[hub.deliver(client) for client in order]}")


def made(hub: Hub):
    assert hub.named == []
    return [(commit.model, commit.hub_state) for commit in hub.commits()]


@pytest.mark.parametrize(("name", "pre"), CASES)
def test_a_kill_at_any_write_and_another_order_of_arrival_give_the_same_bits(name, pre):
    straight = run(of(name, pre))
    expected = made(straight)
    assert len({model.sha256 for model, _ in expected}) == ROUNDS + 1
    assert made(run(of(name, pre), SITES[::-1])) == expected
    for write in range(0, straight.store.writes, 17):
        hub = of(name, pre)
        hub.store.arm(write, before=bool(write % 2))
        assert made(run(hub)) == expected
        assert hub.restarts == 1
