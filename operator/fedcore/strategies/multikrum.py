"""Multi-Krum (Blanchard et al. 2017, section 4): the mean of the n - f updates with the smallest Krum scores. Pure."""

from fedapi.wire.fewest import fewest
from fedcore.strategies import krum, uniform
from fedcore.strategies.geometry import squared_distances
from fedcore.strategies.strategy import Cohort, Parameters, Strategy, Weights

NAME = "MultiKrum"


def weights(cohort: Cohort, parameters: Parameters) -> Weights:
    """1 / (n - f) for those, 0 for the others."""
    squares, byzantine = squared_distances(cohort.inner_products), int(parameters["byzantine"])
    chosen = krum.ranking(squares, range(len(squares)), byzantine)[: len(squares) - byzantine]
    return uniform.of(frozenset(chosen), len(squares))


STRATEGY = Strategy(
    NAME,
    weights,
    frozenset({"byzantine"}),
    least=lambda parameters: fewest(NAME, int(parameters["byzantine"])),
    gram=True,
    mixable=True,
)
