"""Krum (Blanchard et al. 2017, NeurIPS): the one update that is nearest to its n - f - 2 nearest others. Pure."""

import math
from collections.abc import Collection, Sequence

from fedapi.wire.fewest import fewest
from fedcore.strategies import uniform
from fedcore.strategies.geometry import squared_distances
from fedcore.strategies.strategy import Cohort, Parameters, Strategy, Weights

NAME = "Krum"


def weights(cohort: Cohort, parameters: Parameters) -> Weights:
    """1 for the update with the smallest score."""
    squares = squared_distances(cohort.inner_products)
    return uniform.of(ranking(squares, range(len(squares)), int(parameters["byzantine"]))[:1], len(squares))


def ranking(squares: Sequence[Sequence[float]], among: Collection[int], byzantine: int) -> list[int]:
    """Some of n updates by their scores, the smallest first: the sum of squared distances to the n - f - 2 nearest others.

    Of equal ones, as two that are each other's nearest are where n - f - 2 is 1 or less, the one nearer to all.
    """
    near = max(1, len(among) - byzantine - 2)
    rows = {i: sorted(squares[i][j] for j in among if j != i) for i in among}
    return sorted(among, key=lambda i: (math.fsum(rows[i][:near]), math.fsum(rows[i]), i))


STRATEGY = Strategy(
    NAME,
    weights,
    frozenset({"byzantine"}),
    least=lambda parameters: fewest(NAME, int(parameters["byzantine"])),
    gram=True,
    mixable=True,
)
