"""The cost of sums of discrete Gaussian shares: against their exact distribution, dp-accounting 0.6.0, and the Gaussian formula."""

import math
from dataclasses import replace

import numpy as np
import pytest

from fedcore.privacy import gaussian
from fedcore.privacy.distributed.concentrated import calibrated, epsilon_of, rho_for, rho_of, rho_of_shares, tau
from fedcore.privacy.distributed.lattice import Lattice

# noise multiplier, releases, delta, epsilon by RDP on a grid of orders: dp-accounting 0.6.0
REFERENCES = [
    (1.0, 1, 1e-5, 4.728507067217623),
    (1.0, 100, 1e-5, 96.11630842505602),
    (5.0, 100, 1e-3, 8.416496187447095),
    (2.0, 20, 1e-6, 13.37637916335795),
    (10.0, 50, 1e-5, 3.1889915626335883),
    (0.5, 1, 1e-5, 10.725509696418232),
    (30.0, 5, 1e-6, 0.31462507370184767),
]


@pytest.mark.parametrize(("multiplier", "releases", "delta", "expected"), REFERENCES)
def test_it_is_what_others_compute(multiplier, releases, delta, expected):
    """The best order is at least as good as the best one of a grid."""
    found = epsilon_of(releases / multiplier**2 / 2, delta)
    assert expected * (1 - 1e-3) < found <= expected


@pytest.mark.parametrize("mu", [0.001, 0.1, 1.0, 10.0, 100.0])
@pytest.mark.parametrize("delta", [1e-3, 1e-6, 1e-12])
def test_it_is_never_below_the_exact_formula_of_gaussian_noise(mu, delta):
    assert epsilon_of(mu**2 / 2, delta) >= gaussian.epsilon_of(mu, delta)


def summed(variance: int, shares: int) -> np.ndarray:
    """The distribution of a sum of shares."""
    reach = 24 * (math.isqrt(variance) + 1)
    one = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * variance))
    whole = one / one.sum()
    for _ in range(shares - 1):
        whole = np.convolve(whole, one / one.sum())
    return whole


def _middle(distribution: np.ndarray, reach: int) -> np.ndarray:
    centre = distribution.size // 2
    return distribution[centre - reach : centre + reach + 1]


CASES = [(v, n) for v in (1, 2, 9) for n in (1, 2, 3, 5, 10)]


@pytest.mark.parametrize(("variance", "shares"), CASES)
@pytest.mark.parametrize("shift", [1, 2, 3])
def test_the_divergence_of_the_exact_distribution_is_within_the_bound(variance, shares, shift):
    """Of any order; and the bound is near, where shares are not small."""
    p = np.log(_middle(summed(variance, shares), 8 * math.isqrt(shares * variance) + 6 + 6 * shift))
    here, there = p[:-shift], p[shift:]
    rho = rho_of_shares(shift**2, 1, variance, shares)
    for order in (1.5, 2, 3, 6):
        exact = math.log(np.sum(np.exp(order * here + (1 - order) * there))) / (order - 1)
        assert exact <= order * rho * (1 + 1e-9)
        assert variance < 2 or exact >= 0.99 * order * rho


@pytest.mark.parametrize(("variance", "shares"), CASES)
@pytest.mark.parametrize("delta", [1e-2, 1e-5])
def test_epsilon_holds_of_the_exact_distribution(variance, shares, delta):
    p = summed(variance, shares)
    epsilon = epsilon_of(rho_of_shares(1, 1, variance, shares), delta)
    assert np.sum(np.maximum(0, p[:-1] - math.exp(epsilon) * p[1:])) <= delta


def test_many_coordinates_are_within_the_bound():
    """Independent ones add up: a difference of 1 in each of 50."""
    p = _middle(summed(1, 3), 30)
    one = math.log(np.sum(p[:-1] ** 2 / p[1:]))
    assert 50 * one <= 2 * rho_of_shares(50, 50, 1, 3) * (1 + 1e-9)


def test_tau():
    assert tau(1.0, 1) == 0
    assert tau(1.0, 2) == pytest.approx(10 * math.exp(-(math.pi**2)))
    assert tau(0.25, 3) == pytest.approx(10 * (math.exp(-(math.pi**2) / 4) + math.exp(-(math.pi**2) / 3)))
    assert tau(1e6, 1000) == 0


@pytest.mark.parametrize("epsilon", [0.01, 1.0, 8.0, 200.0])
@pytest.mark.parametrize("delta", [1e-3, 1e-9])
def test_a_budget_allows_for_what_costs_no_more(epsilon, delta):
    rho = rho_for(epsilon, delta)
    assert epsilon * (1 - 1e-9) < epsilon_of(rho, delta) <= epsilon
    assert epsilon_of(1.001 * rho, delta) > epsilon


def test_nothing_costs_nothing():
    assert epsilon_of(0.0, 1e-5) == 0


@pytest.mark.parametrize(("sites", "honest", "items"), [(5, 3, 1_000_000), (100, 60, 25_000_000), (1000, 501, 10**9)])
@pytest.mark.parametrize(("epsilon", "rounds"), [(1.0, 1), (8.0, 100), (0.1, 1000)])
def test_noise_for_a_target_over_all_rounds(sites, honest, items, epsilon, rounds):
    """It is kept, with no more noise than it takes; and that is what noise that is not discrete would take, to 1 in 1000."""
    found = calibrated(Lattice(1.0, items, sites, honest, 1.0), epsilon, 1e-6, rounds)
    assert epsilon_of(rounds * rho_of(found), 1e-6) <= epsilon * (1 + 1e-12)
    less = replace(found, noise_multiplier=found.noise_multiplier * (1 - 1e-5))
    assert epsilon_of(rounds * rho_of(less), 1e-6) > epsilon
    smooth = math.sqrt(rounds / (2 * rho_for(epsilon, 1e-6)))
    assert smooth <= found.noise_multiplier < smooth * (1.001 if items < 10**9 else 1.2)


def test_a_target_that_the_ring_has_no_room_for():
    with pytest.raises(ValueError, match="more noise than the ring holds: spend more epsilon"):
        calibrated(Lattice(1.0, 10**9, 1000, 501, 1.0), 1e-3, 1e-6, 10**9)
