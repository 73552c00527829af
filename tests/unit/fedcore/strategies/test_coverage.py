"""Means over sites of unlike width against numpy over whole arrays, with and without an optimizer at the hub; all bits of what nobody has."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest

from fedapi.crd.submodels import ITEMWISE
from fedapi.wire.strategy import StrategySettings
from fedcore.strategies import coverage
from fedcore.strategies.folding import folded
from fedcore.strategies.strategy import Cohort, Update
from fedcore.strategies.table import STRATEGIES, UnknownStrategyError, rules
from fedcore.strategies.weighing import weighed
from fedcore.tensors.arithmetic import Accumulator

WHOLE = (6, 5)
WIDTHS = {0.5: {"w": (3, 3)}, 0.2: {"w": (2, 5)}}
NUMBERS = {
    "FedAvgM": {"momentum": 0.9, "learning_rate": 0.5},
    "FedProx": {"mu": 0.1},
    "FedAdagrad": {"learning_rate": 0.1, "beta1": 0.0, "tau": 0.001},
    "FedAdam": {"learning_rate": 0.1, "beta1": 0.9, "beta2": 0.99, "tau": 0.001},
    "FedYogi": {"learning_rate": 0.1, "beta1": 0.9, "beta2": 0.99, "tau": 0.001},
}


@dataclass
class Site:
    samples: int
    width: float | None
    seed: int

    @property
    def reach(self) -> np.ndarray:
        found = np.zeros(WHOLE, bool)
        shape = WHOLE if self.width is None else WIDTHS[self.width]["w"]
        found[tuple(map(slice, shape))] = True
        return found

    @property
    def update(self) -> np.ndarray:
        """With 0 where it does not reach."""
        return np.random.default_rng(self.seed).normal(size=WHOLE).astype(np.float32) * self.reach


def made(sites, base, name="FedAvg", memory=None, padded=False, block=7):
    """A round of blocks, as the engine goes through it."""
    chosen = rules(StrategySettings(name=name, parameters=NUMBERS.get(name, {})))
    weights = weighed(chosen, Cohort(tuple(Update(site.samples, None) for site in sites))).weights
    reach = coverage.coverage(
        {"w": WHOLE}, ((weight, site.width) for weight, site in zip(weights, sites, strict=True)), WIDTHS, padded
    )
    flat, parts, left = base.reshape(-1), [], []
    for start in range(0, flat.size, block):
        stop = min(start + block, flat.size)
        terms = [(w.parameters, site.update.reshape(-1)[start:stop]) for w, site in zip(weights, sites, strict=True)]
        covered = reach.of([("w", start, stop)], True) if reach else None
        its = None if memory is None else memory[start:stop]
        new, kept = folded(chosen, "F32", flat[start:stop], terms, Accumulator.of("F32", stop - start), its, covered)
        parts.append(new.copy())
        left.append(kept)
    return np.concatenate(parts).reshape(WHOLE), None if memory is None else np.concatenate(left)


SITES = [Site(10, None, 1), Site(30, 0.5, 2), Site(20, 0.2, 3), Site(5, 0.5, 4)]
BASE = np.random.default_rng(0).normal(size=WHOLE).astype(np.float32)


def overlap(sites):
    """The mean update over the sites that have each number, in float64."""
    weight = sum(site.samples * site.reach.astype(np.float64) for site in sites)
    total = sum(site.samples * site.update.astype(np.float64) for site in sites)
    return np.divide(total, weight, out=np.zeros(WHOLE), where=weight > 0)


@pytest.mark.parametrize(
    "sites", [SITES, SITES[1:], SITES[1:2], SITES[2:3] + SITES[3:]], ids=["all", "narrow", "one", "two"]
)
def test_overlap_is_the_mean_over_those_that_have_a_number_and_what_nobody_has_stays(sites):
    new, _ = made(sites, BASE)
    assert np.allclose(new, BASE.astype(np.float64) + overlap(sites), rtol=1e-6, atol=1e-6)
    nobody = ~np.any([site.reach for site in sites], axis=0)
    assert nobody.any() is np.bool_(sites is not SITES)
    assert new[nobody].tobytes() == BASE[nobody].tobytes()
    assert all((made(sites, BASE, block=block)[0] == new).all() for block in (1, 3, 30)), "blocks decide no bits"


def test_zero_padding_is_the_mean_of_values_filled_up_with_zeros():
    new, _ = made(SITES, BASE, padded=True)
    local = [np.where(site.reach, BASE.astype(np.float64) + site.update, 0) for site in SITES]
    exact = sum(site.samples * values for site, values in zip(SITES, local, strict=True)) / 65
    assert np.allclose(new, exact, rtol=1e-6, atol=1e-6)
    new, _ = made(SITES[1:2], BASE, padded=True)
    assert (new == BASE)[~SITES[1].reach].all(), "nobody has them, so nobody says 0"


def test_zero_padding_leaves_infinities_what_they_are():
    base = np.where(np.eye(*WHOLE, k=3) > 0, np.float32(-np.inf), BASE)
    new, _ = made(SITES, base, padded=True)
    assert (np.isneginf(new) == np.isneginf(base)).all()
    assert not np.isnan(new).any()


def test_sites_of_one_width_that_send_the_same_make_what_one_of_them_would():
    twins = [Site(3, 0.5, 2), Site(8, 0.5, 2), Site(4, None, 1)]
    assert np.allclose(overlap(twins), overlap([Site(11, 0.5, 2), Site(4, None, 1)]))
    assert np.allclose(made(twins, BASE)[0], made([Site(11, 0.5, 2), Site(4, None, 1)], BASE)[0], atol=1e-6)


def test_where_all_sites_reach_the_bits_are_those_of_whole_models():
    reach = SITES[1].reach & SITES[2].reach
    whole = [Site(site.samples, None, site.seed) for site in SITES]
    class_made = made(SITES, BASE)[0]
    assert (class_made == made(whole, BASE)[0])[reach].all()


@pytest.mark.parametrize("name", sorted(NUMBERS))
def test_an_optimizer_at_the_hub_gets_the_mean_and_leaves_what_nobody_has_with_its_memory(name):
    strategy = STRATEGIES[name]
    sites = SITES[1:2] + SITES[2:3]
    memory = np.abs(np.random.default_rng(5).normal(size=(BASE.size, strategy.memory))).astype(np.float32)
    new, left = made(sites, BASE, name, memory)
    mean = overlap(sites).astype(np.float32).reshape(-1)
    expected, remembered = strategy.optimize(BASE.reshape(-1), mean, memory, NUMBERS[name])
    reach = np.any([site.reach for site in sites], axis=0)
    flat = reach.reshape(-1)
    assert np.allclose(new.reshape(-1)[flat], expected[flat], rtol=1e-4, atol=1e-6)
    assert np.allclose(left[flat], remembered[flat], rtol=1e-4, atol=1e-6)
    assert new[~reach].tobytes() == BASE[~reach].tobytes()
    assert left[~flat].tobytes() == memory[~flat].tobytes()


def test_a_site_whose_update_counts_nothing_reaches_nowhere():
    zero = coverage.Group(coverage._NONE, WIDTHS[0.5])
    reach = coverage.Coverage({"w": WHOLE}, coverage.Weight(Fraction(0), Fraction(0)), (zero,))
    assert reach.of([("w", 0, 30)], True) is None, "and so nobody lacks anything"


def test_strategies_that_take_sub_models_are_those_that_the_resource_lets_through():
    assert sorted(name for name, strategy in STRATEGIES.items() if strategy.itemwise) == sorted(ITEMWISE)
    assert all(not STRATEGIES[name].gram and STRATEGIES[name].sums for name in ITEMWISE)
    with pytest.raises(UnknownStrategyError, match="Median takes no sub-models"):
        rules(StrategySettings(name="Median", sub_models="Overlap"))
