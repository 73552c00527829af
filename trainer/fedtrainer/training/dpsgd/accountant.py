"""Epsilon of one record for what a site has told: Gaussian mechanisms on Poisson samples, composed. No state, no files.

Adjacency is adding or removing one record. What is said is an upper bound by privacy loss distributions (Gopi, Lee and Wutschitz
2021, arXiv:2106.02848, as Opacus has it), within twice the error of its grid above the true value; without sampling it is the
closed form (fedcore.privacy.gaussian). Renyi accounting (Mironov et al. 2019), which is a bound, too, checks it.
"""

import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from opacus.accountants import PRVAccountant, RDPAccountant
from opacus.accountants.analysis.prv import PoissonSubsampledGaussianPRV, compute_safe_domain_size

from fedcore.privacy import gaussian

LEAST_NOISE, MOST_NOISE = 0.1, 1e4  # noise multipliers that are searched, as the API takes them
_FINE, _COARSE = 1 << 20, 1 << 15  # points of a grid: a second, and some 30 ms
_GRID_ERROR = 5e-4  # of epsilon, where so many points allow for it
_DELTA_ERROR = 1e-3  # of delta
_SEARCHED = 1.002  # ratio of two noise multipliers that are near enough
_REFINEMENTS, _REFINED = 6, 1.01  # so often, and by so much, less is tried on the fine grid
_SURE = 1.001  # by so much a noise multiplier is raised until the fine grid agrees


@dataclass(frozen=True)
class Release:
    """Steps of a training whose result may have left the site."""

    noise_multiplier: float
    sample_rate: float  # with which each record is in a step
    steps: int


def epsilon(releases: Iterable[Release], delta: float) -> float:
    """What they tell of one record together, at most. ArithmeticError when the two accountants contradict each other."""
    return _epsilon(releases, delta, _FINE)


def renyi_epsilon(releases: Iterable[Release], delta: float) -> float:
    """The same by Renyi accounting: never less than what privacy loss distributions find."""
    accountant = RDPAccountant()
    accountant.history = _history(releases)
    with warnings.catch_warnings():  # the best order may be the last that is tried: it is a bound all the same
        warnings.simplefilter("ignore")
        return float(accountant.get_epsilon(delta)) if accountant.history else 0.0


def noise_multiplier(spent: Sequence[Release], rate: float, steps: int, target: float, delta: float) -> float | None:
    """The least with which so many more steps keep within the target, to about 1 %; None: no noise does."""

    def after(noise: float, points: int) -> float:
        return _epsilon((*spent, Release(noise, rate, steps)), delta, points)

    high = 1.0
    while after(high, _COARSE) > target:
        high *= 2
        if high > MOST_NOISE:
            return None
    low = LEAST_NOISE
    while high / low > _SEARCHED:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if after(middle, _COARSE) > target else (low, middle)
    for _ in range(_REFINEMENTS):  # the coarse grid's error is in what it has found: less may do
        if after(high / _REFINED, _FINE) > target:
            break
        high /= _REFINED
    while after(high, _FINE) > target:
        high *= _SURE
    return _rounded_up(high)


def _epsilon(releases: Iterable[Release], delta: float, points: int) -> float:
    history = _history(releases)
    if not history:
        return 0.0
    if all(rate == 1.0 for _, rate, _ in history):
        return gaussian.epsilon_of(math.sqrt(sum(steps / noise**2 for noise, _, steps in history)), delta)
    renyi = renyi_epsilon((Release(*each) for each in history), delta)
    error = _grid_error(history, delta, points)
    accountant = PRVAccountant()
    accountant.history = history
    try:
        with np.errstate(all="ignore"):
            found = float(accountant.get_epsilon(delta, eps_error=error, delta_error=delta * _DELTA_ERROR))
    except (ValueError, RuntimeError, ArithmeticError):  # numbers that its grid cannot hold
        return renyi
    if not math.isfinite(found):
        return renyi
    if renyi < found - 3 * error:
        raise ArithmeticError(
            f"the accountants contradict each other: Renyi {renyi:g}, privacy loss distributions {found:g}, of {history}"
        )
    return min(found, renyi)


def _history(releases: Iterable[Release]) -> list[tuple[float, float, int]]:
    """As Opacus takes it: like steps together, in an order that makes the same sum of the same steps."""
    steps: dict[tuple[float, float], int] = {}
    for each in releases:
        key = each.noise_multiplier, each.sample_rate
        steps[key] = steps.get(key, 0) + each.steps
    return [(noise, rate, count) for (noise, rate), count in sorted(steps.items()) if count]


def _grid_error(history: Sequence[tuple[float, float, int]], delta: float, points: int) -> float:
    """The error of epsilon that a grid of so many points has (Gopi et al. 2021, theorem 5.5)."""
    counts = [steps for _, _, steps in history]
    mechanisms = [PoissonSubsampledGaussianPRV(rate, noise) for noise, rate, _ in history]
    off = delta * _DELTA_ERROR
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        half = compute_safe_domain_size(mechanisms, counts, _GRID_ERROR, off)
    return max(_GRID_ERROR, float(2 * half / points * math.sqrt(sum(counts) * math.log(12 / off) / 2)))


def _rounded_up(value: float) -> float:
    """To 6 digits, so that the rounds that follow have the same."""
    scale = 10.0 ** (5 - math.floor(math.log10(value)))
    return math.ceil(value * scale) / scale
