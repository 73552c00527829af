"""The mean of each number without its f smallest and f largest values (Yin et al. 2018, arXiv:1803.01498, definition 2). Pure."""

from functools import partial

from fedapi.wire.fewest import fewest
from fedcore.strategies import uniform
from fedcore.strategies.coordinatewise import Rows, by_rank, mean
from fedcore.strategies.strategy import Parameters, Strategy
from fedcore.tensors import integers
from fedcore.tensors.arithmetic import Accumulator, Array, Terms

NAME = "TrimmedMean"


def combine(terms: Terms, accumulator: Accumulator, parameters: Parameters) -> Array:
    """The mean of what is left of each number."""
    trimmed = int(parameters["byzantine"])
    return by_rank(terms, accumulator, lambda count: range(trimmed, count - trimmed), partial(_inner_mean, trimmed))


def _inner_mean(trimmed: int, rows: Rows, out: Array) -> None:
    mean(rows[trimmed : len(rows) - trimmed], out)


STRATEGY = Strategy(
    NAME,
    uniform.weights,
    frozenset({"byzantine"}),
    combine=combine,
    integers=integers.median,
    least=lambda parameters: fewest(NAME, int(parameters["byzantine"])),
    mixable=True,
)
