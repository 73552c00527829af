"""Bulyan (El Mhamdi et al. 2018, arXiv:1802.07927, section 4): Krum chooses n - 2f updates, then each number by itself. Pure.

Krum is run on what is left until theta = n - 2f updates are chosen; of each number the mean of the beta = theta - 2f values
nearest to the median is taken.
"""

from functools import partial

import numpy as np

from fedapi.wire.fewest import fewest
from fedcore.strategies import krum, uniform
from fedcore.strategies.coordinatewise import Rows, by_rank, middle
from fedcore.strategies.geometry import squared_distances
from fedcore.strategies.strategy import Cohort, Parameters, Strategy, Weights
from fedcore.tensors import integers
from fedcore.tensors.arithmetic import Accumulator, Array, Terms

NAME = "Bulyan"


def weights(cohort: Cohort, parameters: Parameters) -> Weights:
    """1 / theta for the chosen ones, 0 for the others."""
    squares, byzantine = squared_distances(cohort.inner_products), int(parameters["byzantine"])
    left, chosen = list(range(len(squares))), set[int]()
    while len(chosen) < len(squares) - 2 * byzantine:
        chosen.add(found := krum.ranking(squares, left, byzantine)[0])
        left.remove(found)
    return uniform.of(chosen, len(squares))


def combine(terms: Terms, accumulator: Accumulator, parameters: Parameters) -> Array:
    """The mean of the values nearest to the median, of each number."""
    return by_rank(terms, accumulator, range, partial(_around_the_median, 2 * int(parameters["byzantine"])))


def _around_the_median(without: int, rows: Rows, out: Array) -> None:
    """Sorted values that are nearest to one of them are neighbours: of all windows of theta - 2f the one that reaches least far."""
    low, high = (rows[rank] for rank in middle(len(rows)))
    half = out.dtype.type(0.5)
    median = low * half + high * half
    size = len(rows) - without
    share = out.dtype.type(1 / size)
    nearest = np.full_like(out, np.inf)
    for first in range(without + 1):
        window = rows[first : first + size]
        reach = np.maximum(median - window[0], window[-1] - median)
        nearer = reach < nearest
        mean = window[0] * share
        for row in window[1:]:
            mean += row * share
        np.copyto(out, mean, where=nearer)
        np.copyto(nearest, reach, where=nearer)


STRATEGY = Strategy(
    NAME,
    weights,
    frozenset({"byzantine"}),
    combine=combine,
    integers=integers.median,
    least=lambda parameters: fewest(NAME, int(parameters["byzantine"])),
    gram=True,
    mixable=True,
)
