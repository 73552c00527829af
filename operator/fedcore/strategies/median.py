"""The median of the updates, number by number (Yin et al. 2018, arXiv:1803.01498, definition 1). Pure.

Every update counts the same, whatever its samples: who may claim many would have the power that the rule takes away.
"""

from fedcore.strategies import uniform
from fedcore.strategies.coordinatewise import by_rank, halves, middle
from fedcore.strategies.strategy import Parameters, Strategy
from fedcore.tensors import integers
from fedcore.tensors.arithmetic import Accumulator, Array, Terms


def combine(terms: Terms, accumulator: Accumulator, _parameters: Parameters) -> Array:
    """The middle value of each number; of an even count the mean of the two."""
    return by_rank(terms, accumulator, middle, halves)


STRATEGY = Strategy("Median", uniform.weights, combine=combine, integers=integers.median, mixable=True)
