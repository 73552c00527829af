"""What sums of discrete Gaussian shares cost, as zero-concentrated differential privacy (zCDP), and how much noise a target takes. Pure.

Sums of discrete Gaussian numbers are not quite discrete Gaussian: Kairouz, Liu and Steinke 2021, proposition 14, bounds by tau what
that costs; with the steps of lattice.py it is nothing. Releases add up, rho by rho (Bun and Steinke 2016). Epsilon is Canonne,
Kamath and Steinke 2020, proposition 12, at the best order. It is above the exact one of Gaussian noise, gaussian.py, by some 5 to
15 %: exact formulae of sums of discrete ones are not known. The unit is the site, the adjacency zero-out, as in account.py.
"""

import math
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedcore.privacy.distributed.lattice import Lattice

_STEPS = 200
_ORDERS = (-25.0, 50.0)  # logarithms of order - 1 between which the best one is looked for


def rho_of(lattice: "Lattice") -> float:
    """One release of the sum."""
    return rho_of_shares(lattice.most_squared, lattice.items, lattice.variance, lattice.honest)


def rho_of_shares(squared: int, items: int, variance: int, shares: int) -> float:
    """A sum of so many shares, for integer vectors whose difference has at most this squared length: both bounds hold."""
    whole, inflation = squared / (shares * variance), tau(variance, shares)
    first = whole / 2 + inflation * items
    second = (math.sqrt(whole) + inflation * math.sqrt(items)) ** 2 / 2
    return min(first, second)


def tau(variance: float, shares: int) -> float:
    """How far a sum of shares is from a discrete Gaussian number: theorem 1. Of variances of 1/4 or more."""
    return 10 * math.fsum(math.exp(-2 * math.pi**2 * variance * k / (k + 1)) for k in range(1, shares))


def epsilon_of(rho: float, delta: float) -> float:
    """An epsilon for which rho-zCDP is (epsilon, delta)-DP. It holds at any order; the best is found by thirds."""

    def at(place: float) -> float:
        order = 1 + math.exp(place)
        return order * rho + math.log1p(-1 / order) - (math.log(delta) + math.log(order)) / (order - 1)

    if rho <= 0:
        return 0.0
    low, high = _ORDERS
    for _ in range(_STEPS):
        third = (high - low) / 3
        low, high = (low, high - third) if at(low + third) <= at(high - third) else (low + third, high)
    return max(0.0, at(high))


def rho_for(epsilon: float, delta: float) -> float:
    """The most zCDP that is (epsilon, delta)-DP: what a budget allows for."""
    low, high = 0.0, 1.0
    while epsilon_of(high, delta) <= epsilon:
        low, high = high, 2 * high
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if epsilon_of(middle, delta) <= epsilon else (low, middle)
    return low


def calibrated(lattice: "Lattice", epsilon: float, delta: float, rounds: int) -> "Lattice":
    """The same with the least noise with which so many rounds cost no more than the target. ValueError where the ring has no room."""
    return calibrated_to(lattice, rho_for(epsilon, delta) / rounds)


def calibrated_to(lattice: "Lattice", allowed: float) -> "Lattice":
    """The same with the least noise with which one release costs no more zCDP than that. ValueError as above."""
    low = high = 1.0 / math.sqrt(2 * allowed)  # of noise that is not discrete: never too much
    while rho_of(replace(lattice, noise_multiplier=high)) > allowed:
        low, high = high, 1.25 * high
    for _ in range(_STEPS):
        middle = (low + high) / 2
        enough = rho_of(replace(lattice, noise_multiplier=middle)) <= allowed
        low, high = (low, middle) if enough else (middle, high)
    return replace(lattice, noise_multiplier=high)
