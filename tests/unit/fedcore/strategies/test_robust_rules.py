"""Robust rules against the formulas of their papers, written here in float64 as the papers have them; and what they withstand."""

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest

from fedapi.wire.strategy import StrategySettings
from fedcore.strategies import table
from fedcore.strategies.weighing import TooFewUpdatesError
from tests.unit.fedcore.strategies.aggregated import Round, aggregated

SEEDS = range(8)
NUMBERS = {
    "Median": {},
    "TrimmedMean": {"byzantine": 2},
    "Krum": {"byzantine": 2},
    "MultiKrum": {"byzantine": 2},
    "GeometricMedian": {"iterations": 8, "smoothing": 1e-6},
    "Bulyan": {"byzantine": 2},
    "NormClipping": {"max_norm": 1e9},
}
RULES = sorted(NUMBERS)
MIXABLE = [name for name in RULES if name != "NormClipping"]


def drawn(seed, count=11, items=300, dtype=np.float32):
    return np.random.default_rng(seed).normal(size=(count, items)).astype(dtype)


def close(found, exact, tolerance=2e-6):
    return np.allclose(found, exact, rtol=tolerance, atol=tolerance * np.abs(exact).max())


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 8, 20, 33])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_median(count, dtype):
    updates = drawn(count, count, 9000, dtype)
    assert close(aggregated("Median", updates), np.median(updates.astype(np.float64), axis=0))


@pytest.mark.parametrize(("count", "byzantine"), [(3, 1), (5, 2), (8, 1), (20, 4), (33, 16)])
def test_trimmed_mean(count, byzantine):
    updates = drawn(count, count, 9000)
    exact = np.sort(updates.astype(np.float64), axis=0)[byzantine : count - byzantine].mean(axis=0)
    assert close(aggregated("TrimmedMean", updates, byzantine=byzantine), exact)


def krum_scores(updates, byzantine):
    """Blanchard et al. 2017: i -> j, the n - f - 2 closest vectors to V_i."""
    exact, found = updates.astype(np.float64), []
    for i in range(len(exact)):
        others = sorted(((exact[i] - exact[j]) ** 2).sum() for j in range(len(exact)) if j != i)
        found.append((sum(others[: max(1, len(exact) - byzantine - 2)]), sum(others)))
    return found


def by_score(updates, byzantine):
    scores = krum_scores(updates, byzantine)
    return sorted(range(len(updates)), key=scores.__getitem__)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("byzantine", [1, 2, 4])
def test_krum(seed, byzantine):
    updates = drawn(seed)
    chosen = by_score(updates, byzantine)[0]
    assert aggregated("Krum", updates, byzantine=byzantine).tobytes() == updates[chosen].tobytes()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("byzantine", [1, 2, 4])
def test_multi_krum(seed, byzantine):
    updates = drawn(seed)
    chosen = by_score(updates, byzantine)[: len(updates) - byzantine]
    assert close(aggregated("MultiKrum", updates, byzantine=byzantine), updates[chosen].astype(np.float64).mean(axis=0))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("count", "byzantine"), [(7, 1), (11, 2), (12, 2)])
def test_bulyan(seed, count, byzantine):
    """El Mhamdi et al. 2018: theta = n - 2f by Krum on what is left, then the beta = theta - 2f values nearest to the median."""
    updates = drawn(seed, count)
    left, chosen = list(range(count)), []
    while len(chosen) < count - 2 * byzantine:
        chosen.append(left.pop(by_score(updates[left], byzantine)[0]))
    values = updates[chosen].astype(np.float64)
    median = np.median(values, axis=0)
    nearest = np.argsort(np.abs(values - median), axis=0, kind="stable")[: len(chosen) - 2 * byzantine]
    exact = np.take_along_axis(values, nearest, axis=0).mean(axis=0)
    found = aggregated("Bulyan", updates, byzantine=byzantine)
    assert np.mean(np.isclose(found, exact, rtol=1e-5, atol=1e-6)) > 0.99, "but where two values are as near"


@pytest.mark.parametrize("seed", SEEDS)
def test_geometric_median_is_the_point_with_the_least_sum_of_distances(seed):
    updates = drawn(seed, 7, 40)
    found = aggregated("GeometricMedian", updates, iterations=100, smoothing=1e-6).astype(np.float64)

    def total(point):
        return np.linalg.norm(updates - point, axis=1).sum()

    rng = np.random.default_rng(seed)
    assert all(total(found) <= total(found + 1e-3 * rng.normal(size=40)) for _ in range(50))


@pytest.mark.parametrize("seed", SEEDS)
def test_geometric_median_by_weiszfeld_steps_over_the_updates(seed):
    updates = drawn(seed, 9, 50)
    exact = updates.astype(np.float64)
    distances = np.linalg.norm(exact[:, None] - exact[None], axis=2)
    found = distances[int(np.argmin(distances.sum(axis=1)))]
    found[found == 0] = np.sort(found)[1]
    for _ in range(5):
        pulls = 1 / np.maximum(0.5, found)
        point = (pulls[:, None] * updates).sum(axis=0) / pulls.sum()
        found = np.linalg.norm(updates - point, axis=1)
    assert close(aggregated("GeometricMedian", updates, iterations=5, smoothing=0.5), point, 1e-5)


@pytest.mark.parametrize("limit", [0.5, 17.0, 18.5, 1e9])
def test_norm_clipping(limit):
    updates, samples = drawn(1), list(range(1, 12))
    exact = updates.astype(np.float64)
    shares = np.array(samples) / sum(samples) * np.minimum(1, limit / np.linalg.norm(exact, axis=1))
    assert close(aggregated("NormClipping", updates, samples=samples, max_norm=limit), shares @ exact, 1e-5)


def test_norm_clipping_leaves_buffers_and_integers_to_the_mean():
    round_ = Round("NormClipping", drawn(1, 2), samples=[1, 3], max_norm=1e-3)
    found = round_.made(updates=np.array([[4.0], [8.0]], np.float32), parameters=False)[0]
    assert found.tolist() == [7.0]
    assert round_.made(np.array([5]), updates=np.array([[4], [8]]), parameters=False)[0].tolist() == [12]


def test_norm_clipping_of_nothing_and_of_what_is_short_enough_is_fedavg():
    updates = drawn(2)
    assert aggregated("NormClipping", updates, max_norm=1e9).tobytes() == aggregated("FedAvg", updates).tobytes()
    assert not aggregated("NormClipping", np.zeros((2, 5), np.float32), max_norm=1.0).any()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", MIXABLE)
def test_nearest_neighbour_mixing_is_the_rule_over_means(seed, name):
    """Allouah et al. 2023, algorithm 2: each vector replaced by the mean of its n - f nearest, itself included."""
    updates, byzantine = drawn(seed), 2
    exact = updates.astype(np.float64)
    distances = np.linalg.norm(exact[:, None] - exact[None], axis=2)
    mixed = np.stack([exact[np.argsort(row)[: len(exact) - byzantine]].mean(axis=0) for row in distances])
    pre = {"name": "NearestNeighbourMixing", "byzantine": byzantine}
    found = aggregated(name, updates, pre=pre, **NUMBERS[name])
    assert close(found, aggregated(name, mixed, **NUMBERS[name]), 1e-5)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ["Median", "GeometricMedian", "Krum"])
def test_bucketing_is_the_rule_over_means_of_drawn_groups(seed, name):
    updates, numbers = drawn(seed, 14), NUMBERS[name]
    round_ = Round(name, updates, pre={"name": "Bucketing", "bucket_size": 2}, seed=seed, **numbers)
    from fedapi.wire.seeds import derived

    drawn_ = sorted(range(14), key=lambda i: derived(seed, "bucket", str(i)))
    means = [updates[drawn_[start : start + 2]].astype(np.float64).mean(axis=0) for start in range(0, 14, 2)]
    assert close(round_.made()[0], aggregated(name, np.stack(means), **numbers), 1e-5)


def test_another_round_draws_other_buckets():
    updates = drawn(0, 14)
    made = [aggregated("Median", updates, pre={"name": "Bucketing", "bucket_size": 3}, seed=seed) for seed in (1, 1, 2)]
    assert made[0].tobytes() == made[1].tobytes() != made[2].tobytes()


def test_of_a_count_that_no_bucket_size_divides_the_last_bucket_is_smaller():
    updates = np.eye(5, dtype=np.float32)
    round_ = Round("GeometricMedian", updates, pre={"name": "Bucketing", "bucket_size": 2}, iterations=1, smoothing=1e9)
    assert sorted(float(weight.parameters) for weight in round_.weights) == pytest.approx([1 / 6] * 4 + [1 / 3])


@pytest.mark.parametrize(
    ("name", "pre"),
    [
        *((name, None) for name in RULES),
        *((name, {"name": "NearestNeighbourMixing", "byzantine": 2}) for name in MIXABLE),
    ],
)
def test_the_order_of_sites_changes_nothing(name, pre):
    updates = drawn(3)
    order = np.random.default_rng(4).permutation(len(updates))
    found = [aggregated(name, rows, pre=pre, **NUMBERS[name]) for rows in (updates, updates[order])]
    assert close(found[0], found[1], 1e-5)


@pytest.mark.parametrize("name", RULES)
def test_identical_updates_give_that_update(name):
    one = drawn(5, 1)[0]
    assert close(aggregated(name, np.stack([one] * 11), **NUMBERS[name]), one)


@pytest.mark.parametrize("name", RULES)
def test_bits_depend_neither_on_blocks_nor_on_negative_zeros_of_a_sign(name):
    updates = drawn(6, 11, 10_000)
    updates[:, ::7] = np.where(np.random.default_rng(7).random((11, 1429)) < 0.5, np.float32(-0.0), np.float32(0.0))
    round_ = Round(name, updates, **NUMBERS[name])
    whole = round_.made()[0]
    for block in (1000, 4096, 4097):
        parts = [round_.made(updates=updates[:, start : start + block])[0] for start in range(0, 10_000, block)]
        assert np.concatenate(parts).tobytes() == whole.tobytes()


def attacked(seed):
    """Nine honest updates about one direction, and two that are a hundred times as long the other way."""
    rng = np.random.default_rng(seed)
    direction = rng.normal(size=400)
    honest = direction + 0.3 * rng.normal(size=(9, 400))
    return np.concatenate([honest, -100 * honest[:2]]).astype(np.float32), direction


@pytest.mark.parametrize("pre", [None, {"name": "NearestNeighbourMixing", "byzantine": 2}])
@pytest.mark.parametrize("name", [name for name in RULES if name != "NormClipping"])
def test_two_attackers_move_a_mean_and_no_robust_rule(name, pre):
    updates, direction = attacked(1)
    assert np.dot(aggregated("FedAvg", updates), direction) < 0
    found = aggregated(name, updates, pre=pre, **NUMBERS[name])
    assert np.linalg.norm(found - direction) < 0.5 * np.linalg.norm(direction)


def test_two_attackers_move_a_clipped_mean_no_further_than_honest_ones_do():
    updates, direction = attacked(1)
    limit = float(np.linalg.norm(direction))
    assert np.dot(aggregated("NormClipping", updates, max_norm=limit), direction) > 0


@pytest.mark.parametrize("claimed", [10**9, 1])
@pytest.mark.parametrize("name", [name for name in RULES if name != "NormClipping"])
def test_samples_give_an_attacker_no_more_power(name, claimed):
    updates, _ = attacked(2)
    plain = aggregated(name, updates, **NUMBERS[name])
    samples = [1] * 9 + [claimed] * 2
    assert aggregated(name, updates, samples=samples, **NUMBERS[name]).tobytes() == plain.tobytes()


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("size", [3e38, 1e-44])
def test_updates_at_the_ends_of_their_type(name, size):
    """Sums of finite values that overflow do not make a rule blind, nor an honest model infinite."""
    updates = drawn(8)
    updates[:2] = np.float32(size) * np.sign(updates[:2])
    numbers = NUMBERS[name] | ({"max_norm": 20.0} if name == "NormClipping" else {})
    found = aggregated(name, updates, **numbers)
    assert np.isfinite(found).all()
    assert np.linalg.norm(found.astype(np.float64)) < 40


@pytest.mark.parametrize(
    ("name", "numbers", "pre", "least"),
    [
        ("Median", {}, None, 1),
        ("Median", {}, {"name": "NearestNeighbourMixing", "byzantine": 2}, 5),
        ("Median", {}, {"name": "Bucketing", "bucket_size": 3}, 1),
        ("TrimmedMean", {"byzantine": 2}, None, 5),
        ("Krum", {"byzantine": 2}, None, 7),
        ("MultiKrum", {"byzantine": 1}, None, 5),
        ("MultiKrum", {"byzantine": 1}, {"name": "Bucketing", "bucket_size": 2}, 9),
        ("Bulyan", {"byzantine": 1}, None, 7),
        ("Bulyan", {"byzantine": 1}, {"name": "NearestNeighbourMixing", "byzantine": 4}, 9),
    ],
)
def test_the_fewest_updates(name, numbers, pre, least):
    settings = StrategySettings.model_validate({"name": name, "parameters": numbers, "pre_aggregation": pre})
    assert table.fewest(settings) == least
    assert np.isfinite(aggregated(name, drawn(1, least), pre=pre, **numbers)).all()
    if least > 1:
        with pytest.raises(
            TooFewUpdatesError, match=f"strategy {name} needs {least} updates with samples, {least - 1} came"
        ):
            Round(name, drawn(1, least - 1), pre=pre, **numbers)


def test_weights_of_a_mean_are_exact_fractions():
    round_ = Round("MultiKrum", drawn(1), byzantine=2)
    assert sorted(weight.parameters for weight in round_.weights) == [Fraction(0)] * 2 + [Fraction(1, 9)] * 9


def test_the_median_of_integers_is_a_value_that_a_site_has():
    base = np.array([250, 3, 10], np.uint8)
    local = np.array([[255, 0, 7], [1, 200, 9], [128, 5, 9], [3, 4, 200]], np.uint8)
    round_ = Round("Median", np.zeros((4, 1), np.float32))
    assert round_.made(base, updates=local - base, parameters=False)[0].tolist() == [3, 4, 9]


def test_ranks_are_those_of_sorting_for_every_number_of_rows():
    from fedcore.tensors import sorting

    for count in range(1, 40):
        rows = np.random.default_rng(count).integers(0, 9, (count, 50)).astype(np.float32)
        for wanted in [range(count), *combinations(range(min(count, 3)), 2), [count // 2]]:
            kept = [row.copy() for row in rows]
            found = sorting.ranked(kept, list(wanted), np.empty(50, np.float32))
            assert all(np.array_equal(found[rank], np.sort(rows, axis=0)[rank]) for rank in wanted if rank < count)
