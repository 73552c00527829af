"""FedAdagrad (Reddi et al. 2021, arXiv:2003.00295, algorithm 2): v <- v + d^2. Pure; the rest is in adaptive.py."""

from fedcore.strategies import adaptive
from fedcore.strategies.strategy import Parameters
from fedcore.tensors.arithmetic import Array


def second(v: Array, square: Array, _parameters: Parameters) -> Array:
    """The sum of all squares so far."""
    return v + square


STRATEGY = adaptive.strategy("FedAdagrad", second)
