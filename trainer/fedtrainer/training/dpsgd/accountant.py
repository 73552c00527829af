"""Epsilon of one record for what a site has told: Gaussian mechanisms on Poisson samples, composed. No state, no files.

Adjacency is adding or removing one record. What is said is an upper bound by privacy loss distributions (Gopi, Lee and Wutschitz
2021, arXiv:2106.02848, as Opacus has it), within twice the error of its grid above the true value; without sampling it is the
closed form (fedcore.privacy.gaussian). Renyi accounting (Mironov et al. 2019), which is a bound, too, checks it.
"""

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from opacus.accountants import RDPAccountant
from opacus.accountants.analysis.prv import (
    Domain,
    PoissonSubsampledGaussianPRV,
    TruncatedPrivacyRandomVariable,
    compose_heterogeneous,
    discretize,
)

from fedcore.privacy import gaussian

LEAST_NOISE, MOST_NOISE = 0.1, 1e4  # noise multipliers that are searched, as the API takes them
_FINE, _COARSE = 1 << 18, 1 << 14  # points of a grid
_GRID_ERROR = 5e-4  # of epsilon, where so many points allow for it
_DELTA_ERROR = 1e-3  # of delta
_ORDERS = (*range(2, 65), 96, 128, 256, 512)  # of Renyi accounting: whole ones are sums of few terms
_GAIN = 0.5  # the least share of the noise that Renyi accounting asks for with which the other may do
_NEAR = 1.01  # ratio of two noise multipliers that are near enough
Steps = tuple[float, float, int]  # noise multiplier, sampling rate, steps: as Opacus has them


@dataclass(frozen=True)
class Release:
    """Steps of a training whose result may have left the site."""

    noise_multiplier: float
    sample_rate: float  # with which each record is in a step
    steps: int


def epsilon(releases: Iterable[Release], delta: float) -> float:
    """What they tell of one record together, at most. ArithmeticError when the two accountants contradict each other."""
    return _epsilon(_together(releases), delta, _FINE)


def renyi_epsilon(releases: Iterable[Release], delta: float) -> float:
    """The same by Renyi accounting: never less than what privacy loss distributions find."""
    return _renyi(_together(releases), delta)


def noise_multiplier(spent: Sequence[Release], rate: float, steps: int, target: float, delta: float) -> float | None:
    """The least with which so many more steps keep within the target, to about 1 %; None: no noise does."""

    def within(epsilon_of: Callable[[tuple[Steps, ...]], float]) -> Callable[[float], bool]:
        return lambda noise: epsilon_of(_together((*spent, Release(noise, rate, steps)))) <= target

    by_renyi = within(lambda history: _renyi(history, delta))
    coarse, fine = (
        within(lambda history: _epsilon(history, delta, _COARSE)),
        within(lambda history: _epsilon(history, delta, _FINE)),
    )
    if not by_renyi(MOST_NOISE):
        return None
    most = _least(by_renyi, LEAST_NOISE, MOST_NOISE)
    found = _least(coarse, max(LEAST_NOISE, most * _GAIN), most)
    while found / _NEAR >= LEAST_NOISE and fine(found / _NEAR):  # the coarse grid's error is in what it has found
        found /= _NEAR
    while not fine(found := _rounded_up(found)):
        found *= _NEAR
    return found


def _least(enough: Callable[[float], bool], low: float, high: float) -> float:
    """Of what is enough between the two, where `high` is."""
    while high / low > _NEAR:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


@lru_cache(maxsize=64)  # asked before a training and after it
def _epsilon(history: tuple[Steps, ...], delta: float, points: int) -> float:
    if not history:
        return 0.0
    if all(rate == 1.0 for _, rate, _ in history):
        return gaussian.epsilon_of(math.sqrt(sum(steps / noise**2 for noise, _, steps in history)), delta)
    renyi = _renyi(history, delta)
    try:
        least, most = _bounds(history, delta, points)
    except (ValueError, RuntimeError, ArithmeticError):  # numbers that a grid cannot hold
        return renyi
    if not math.isfinite(most):
        return renyi
    if renyi < least:
        raise ArithmeticError(
            f"the accountants contradict each other: Renyi {renyi:g}, privacy loss distributions {least:g} or more, of {history}"
        )
    return min(most, renyi)


def _bounds(history: Sequence[Steps], delta: float, points: int) -> tuple[float, float]:
    """Epsilon at least and at most, by privacy loss distributions on a grid (Gopi et al. 2021, theorem 5.5 and remark 5.6)."""
    counts, off = [steps for _, _, steps in history], delta * _DELTA_ERROR
    losses = [PoissonSubsampledGaussianPRV(rate, noise) for noise, rate, _ in history]
    ends = [
        _renyi(history, off / 4),
        *(_renyi([(noise, rate, 1)], off / (8 * sum(counts))) for noise, rate, _ in history),
    ]
    end, wide = max(ends) + 3, math.sqrt(sum(counts) * math.log(12 / off) / 2)
    error = max(_GRID_ERROR, 2 * end / points * wide)
    grid = Domain.create_aligned(-end, end, error / wide)
    with np.errstate(all="ignore"):
        each = [discretize(TruncatedPrivacyRandomVariable(loss, grid.t_min, grid.t_max), grid) for loss in losses]
        least, _, most = compose_heterogeneous(each, counts).compute_epsilon(delta, off, error)
    return float(least), float(most)


def _renyi(history: Sequence[Steps], delta: float) -> float:
    """Mironov, Talwar and Zhang 2019, arXiv:1908.10530: a bound of any order is one."""
    if not history:
        return 0.0
    accountant = RDPAccountant()
    accountant.history = list(history)
    with warnings.catch_warnings():  # the best order may be the last that is tried
        warnings.simplefilter("ignore")
        return float(accountant.get_epsilon(delta, alphas=_ORDERS))


def _together(releases: Iterable[Release]) -> tuple[Steps, ...]:
    """Like steps together, in an order that makes the same sum of the same steps."""
    steps: dict[tuple[float, float], int] = {}
    for each in releases:
        key = each.noise_multiplier, each.sample_rate
        steps[key] = steps.get(key, 0) + each.steps
    return tuple((noise, rate, count) for (noise, rate), count in sorted(steps.items()) if count)


def _rounded_up(value: float) -> float:
    """To 6 digits, so that the rounds that follow have the same."""
    scale = 10.0 ** (5 - math.floor(math.log10(value)))
    return math.ceil(value * scale - 1e-9) / scale
