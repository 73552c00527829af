"""Updates as whole steps: exact where they are whole, right on average, never too long, and within the ring all together."""

import math
from dataclasses import replace

import numpy as np
import pytest

from fedcore.privacy.distributed import discrete, lattice
from fedcore.privacy.distributed.lattice import Lattice
from fedcore.secagg.quantization import Scale

KEY = bytes(range(32))


def coarse(items: int, noise: float = 1e6) -> Lattice:
    """With few steps, and a step of length 1: so much noise leaves no more room."""
    few = Lattice(1.0, items, 5, 3, noise)
    return replace(few, clip_norm=float(few.levels))


def test_whole_steps_stay_as_they_are():
    steps = coarse(1000)
    update = np.random.default_rng(1).integers(-2, 3, 1000).astype(np.float64)
    assert np.array_equal(steps.rounded(update, KEY), update)


@pytest.mark.parametrize("part", [0.25, 0.5, 0.9])
@pytest.mark.parametrize("whole", [-2, -1, 0, 1])
def test_others_are_right_on_average(whole, part):
    steps = coarse(100_000, 1e5)
    found = steps.rounded(np.full(100_000, whole + part), KEY)
    assert set(np.unique(found)) == {whole, whole + 1}
    assert abs(np.mean(found == whole + 1) - part) < 4 * math.sqrt(part * (1 - part) / 100_000)


@pytest.mark.parametrize("items", [1, 2, 1000, 40_000])
@pytest.mark.parametrize("noise", [0.5, 1e5, 3e7])
@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_no_update_is_longer_than_is_promised(items, noise, size):
    """Whatever a site has: along one axis, along all, halfway between steps."""
    steps = Lattice(0.37, items, 5, 3, noise)
    chance, half = np.random.default_rng(items), 0.5 * steps.clip_norm / steps.levels
    for update in (chance.standard_normal(items), np.eye(1, items)[0], np.ones(items), np.full(items, half / size)):
        found = steps.rounded(update * size, KEY)
        assert sum(int(each) ** 2 for each in found) <= steps.most_squared
        assert np.abs(found).max() <= steps.levels


def test_too_long_a_rounding_is_done_again():
    """Half a step everywhere, as long as may be: some roundings are above the bound, and none of what is given back."""
    steps = coarse(36, 6e7)
    update = np.full(36, 0.5)
    assert steps.levels == 3
    first = [int(np.sum(lattice._at_random(update, bytes([n % 256, n // 256]) * 16, 0) ** 2)) for n in range(1000)]
    given = [int(np.sum(steps.rounded(update, bytes([n % 256, n // 256]) * 16) ** 2)) for n in range(1000)]
    assert max(first) > steps.most_squared >= max(given)


def test_after_too_many_tries_it_is_cut(monkeypatch):
    monkeypatch.setattr(lattice, "_TRIES", 0)
    assert np.array_equal(coarse(3).rounded(np.array([1.7, -1.7, 0.2]), KEY), [1, -1, 0])


@pytest.mark.parametrize("sites", [2, 5, 100, 1000])
@pytest.mark.parametrize("noise", [1e-3, 1.0, 100.0])
def test_all_sites_and_their_noise_are_within_the_ring(sites, noise):
    steps = Lattice(1.0, 10**8, sites, sites // 2 + 1, noise)
    deviation = math.sqrt(sites * steps.variance)
    room = (2**31 - 1 - sites * steps.levels) / deviation
    assert 2e8 * math.exp(-(room**2) / 2) <= 2**-40
    assert steps.levels <= Scale(1.0, sites).levels
    assert steps.variance < discrete.MOST_VARIANCE


@pytest.mark.parametrize("honest", [1, 2, 3, 7, 10])
def test_the_honest_survivors_have_all_of_the_noise(honest):
    """And no more than that by a rounding."""
    steps = Lattice(1.0, 1000, 10, honest, 2.5)
    there = math.sqrt(honest * steps.variance) / steps.levels
    assert 2.5 <= there < 2.5 * (1 + 1e-12)


def test_rounding_costs_next_to_nothing():
    """Without rotation, and with a model of 10^9 values at 1000 sites."""
    steps = Lattice(1.0, 10**9, 1000, 600, 5.0)
    assert math.sqrt(steps.most_squared) / steps.levels < 1 + 4e-5


def test_a_contribution_is_the_same_of_the_same_key():
    steps, update = Lattice(1.0, 1000, 5, 3, 1.0), np.random.default_rng(1).standard_normal(1000).astype(np.float32)
    first = steps.contribution(update, KEY)
    assert np.array_equal(first, steps.contribution(update, KEY))
    assert np.count_nonzero(first == steps.contribution(update, bytes(32))) < 5


def test_noise_and_rounding_have_nothing_in_common():
    steps = Lattice(1.0, 50_000, 5, 3, 1e5)
    update = np.full(50_000, 0.5 * steps.clip_norm / steps.levels)
    both = [steps.contribution(each, KEY).view(np.int32).astype(float) for each in (update, 0 * update)]
    up = both[0] - both[1]
    assert abs(np.corrcoef(up, both[1])[0, 1]) < 4 / math.sqrt(50_000)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"honest": 0}, "honest must be from 1 to the 5 sites, not 0"),
        ({"honest": 6}, "not 6"),
        ({"clip_norm": 0.0}, "clip_norm must be above 0"),
        ({"clip_norm": math.inf}, "clip_norm must be above 0 and finite"),
        ({"noise_multiplier": math.nan}, "noise_multiplier must be above 0"),
        ({"items": 0}, "items must be above 0"),
        ({"noise_multiplier": 1e9}, "noise_multiplier 1e\\+09 is more noise than the ring holds"),
    ],
)
def test_what_no_lattice_has(changed, named):
    with pytest.raises(ValueError, match=named):
        replace(Lattice(1.0, 10, 5, 3, 1.0), **changed)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_an_update_that_is_none(value):
    steps = Lattice(1.0, 3, 5, 3, 1.0)
    with pytest.raises(ValueError, match="NaN or infinite"):
        steps.contribution(np.array([0.0, value, 1.0]), KEY)
    with pytest.raises(ValueError, match="2 values, not the 3"):
        steps.contribution(np.zeros(2), KEY)
