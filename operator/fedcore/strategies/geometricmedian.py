"""The geometric median by smoothed Weiszfeld steps (RFA: Pillutla et al. 2022, arXiv:1912.13445, algorithm 2). Pure.

Every step is a weighted mean of the updates, so the steps are taken on the weights alone, by inner products, and the
updates are added once. The first step is taken from the update that is nearest to all others, not from the mean, which one
attacker puts where it likes: no number of steps would come back from there. All updates are equal, whatever their samples.
"""

import math
from collections.abc import Sequence
from fractions import Fraction

from fedcore.strategies.geometry import distances_to_mean, squared_distances
from fedcore.strategies.strategy import Cohort, Parameters, Strategy, Weights
from fedcore.tensors import integers
from fedcore.tensors.arithmetic import Array


def weights(cohort: Cohort, parameters: Parameters) -> Weights:
    """Of each update the share that it has in the last step."""
    distances = _from_the_innermost(cohort.inner_products)
    shares = _shares(distances, parameters["smoothing"])
    for _ in range(int(parameters["iterations"]) - 1):
        shares = _shares(distances_to_mean(cohort.inner_products, shares), parameters["smoothing"])
    return tuple(map(Fraction, shares))


def _from_the_innermost(gram: Array) -> list[float]:
    """Distances from the update with the least sum of them; its own is that to its nearest, else no step would leave it."""
    rows = [[math.sqrt(square) for square in row] for row in squared_distances(gram)]
    found = min(range(len(rows)), key=lambda index: (math.fsum(rows[index]), index))
    others = rows[found][:found] + rows[found][found + 1 :]
    return [*rows[found][:found], min(others, default=0.0), *rows[found][found + 1 :]]


def _shares(distances: Sequence[float], smoothing: float) -> list[float]:
    pulls = [1 / max(smoothing, distance) for distance in distances]
    total = math.fsum(pulls)
    return [pull / total for pull in pulls]


STRATEGY = Strategy(
    "GeometricMedian",
    weights,
    frozenset({"iterations", "smoothing"}),
    integers=integers.median,
    gram=True,
    mixable=True,
)
