"""FedAdam (Reddi et al. 2021, arXiv:2003.00295, algorithm 2): v <- beta2 v + (1 - beta2) d^2. Pure; see adaptive.py."""

from fedcore.strategies import adaptive
from fedcore.strategies.strategy import Parameters
from fedcore.tensors.arithmetic import Array


def second(v: Array, square: Array, parameters: Parameters) -> Array:
    """A mean of the squares that forgets."""
    number, beta = v.dtype.type, parameters["beta2"]
    found: Array = number(beta) * v + number(1 - beta) * square
    return found


STRATEGY = adaptive.strategy("FedAdam", second, "beta2")
