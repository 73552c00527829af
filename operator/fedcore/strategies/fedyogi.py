"""FedYogi (Reddi et al. 2021, arXiv:2003.00295, algorithm 2): v <- v - (1 - beta2) d^2 sign(v - d^2). Pure; see adaptive.py."""

import numpy as np

from fedcore.strategies import adaptive
from fedcore.strategies.strategy import Parameters
from fedcore.tensors.arithmetic import Array


def second(v: Array, square: Array, parameters: Parameters) -> Array:
    """The last one, moved towards the square by a part of the square, however far off it is."""
    found: Array = v - v.dtype.type(1 - parameters["beta2"]) * square * np.sign(v - square)
    return found


STRATEGY = adaptive.strategy("FedYogi", second, "beta2")
