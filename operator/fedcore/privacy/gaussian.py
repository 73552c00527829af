"""What Gaussian noise costs, exactly: epsilon, delta and mu of mechanisms that are composed without sampling. Pure.

A release of a sum that one site can change by C, with noise of standard deviation z C, is mu-GDP with mu = 1 / z; releases one after
the other, each chosen by what was released before, are together sqrt(sum 1/z^2)-GDP (Dong, Roth and Su 2022, corollary 2; of noise
that is chosen on the way, Smith and Thakurta 2022). delta(epsilon) is that of Balle and Wang 2018, theorem 8.
Called by account.py. What is given back is rounded to the side that promises less.
"""

import math

_STEPS = 200  # of a bisection: far more than a float has bits
_FAR = 25.0  # from where exp(x^2) is near the largest float, and the series below has all digits


def delta_of(epsilon: float, mu: float) -> float:
    """The least delta for which mu-GDP is (epsilon, delta)-DP: Phi(mu/2 - epsilon/mu) - e^epsilon Phi(-mu/2 - epsilon/mu)."""
    if mu <= 0:
        return 0.0
    a, b = mu / 2 - epsilon / mu, mu / 2 + epsilon / mu
    upper = 0.5 * math.erfc(-a / math.sqrt(2))
    # e^epsilon Phi(-b) = exp(-a^2 / 2) erfcx(b / sqrt(2)) / 2, in which nothing overflows
    return max(0.0, upper - 0.5 * math.exp(-a * a / 2) * _erfcx(b / math.sqrt(2)))


def epsilon_of(mu: float, delta: float) -> float:
    """The least epsilon for which mu-GDP is (epsilon, delta)-DP."""
    if mu <= 0 or delta_of(0.0, mu) <= delta:
        return 0.0
    low, high = 0.0, 1.0
    while delta_of(high, mu) > delta:
        low, high = high, 2 * high
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if delta_of(middle, mu) > delta else (low, middle)
    return high


def mu_of(epsilon: float, delta: float) -> float:
    """The largest mu whose mu-GDP is (epsilon, delta)-DP: what a budget allows for."""
    low, high = 0.0, 1.0
    while delta_of(epsilon, high) <= delta:
        low, high = high, 2 * high
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if delta_of(epsilon, middle) <= delta else (low, middle)
    return low


def _erfcx(x: float) -> float:
    """exp(x^2) erfc(x) for x >= 0."""
    if x < _FAR:
        return math.exp(x * x) * math.erfc(x)
    square = 2 * x * x
    return (1 - 1 / square + 3 / square**2 - 15 / square**3) / (x * math.sqrt(math.pi))
