"""Clip norms that follow the updates, by noised counts of how many are within them (Andrew, Thakkar, McMahan and Ramaswamy 2021). Pure.

A site's update tells two things then, and the noise is shared out so that both together cost what the noise multiplier says
(theorem 1): the sum has 1 / sqrt(1/z^2 - 1/(2 s)^2) times the clip norm, the count of sites s. A site is in the count as 1/2 or -1/2,
which it can change by 1/2 where it is there or not. Called by budget.py, which plans, and by the engine's fold, which counts.
"""

import math
from collections.abc import Iterable

_FARTHEST = 1e6  # times the norm that a job began with, and its inverse: what a norm may become


def count_noise(asked: float | None, noise_multiplier: float, sites: int) -> float:
    """Of the count, in sites: as it is asked for, or a twentieth of the sites, and never so little that the sum has much more."""
    return max(sites / 20, noise_multiplier) if asked is None else asked


def sum_noise(noise_multiplier: float, count_noise: float | None) -> float:
    """Of the sum, in clip norms, so that sum and count together are as private as the sum alone with that multiplier."""
    if count_noise is None:
        return noise_multiplier
    left = noise_multiplier**-2 - (2 * count_noise) ** -2
    if left <= 0:
        raise ValueError(f"a count with noise {count_noise} alone tells more than noise multiplier {noise_multiplier}")
    return 1 / math.sqrt(left)


def share_within(norms: Iterable[float], clip_norm: float, noise: float, sites: int) -> float:
    """How many of the sites have updates within the clip norm, with noise: from 0 to 1. Who is not there counts as a half."""
    centred = sum(0.5 if norm <= clip_norm else -0.5 for norm in norms)
    return min(1.0, max(0.0, 0.5 + (centred + noise) / sites))


def next_norm(clip_norm: float, share: float, quantile: float, learning_rate: float, begun: float) -> float:
    """The norm of the round after: nearer to the quantile, by the factor exp(-learning rate x (share - quantile))."""
    moved = clip_norm * math.exp(-learning_rate * (share - quantile))
    return min(begun * _FARTHEST, max(begun / _FARTHEST, moved))
