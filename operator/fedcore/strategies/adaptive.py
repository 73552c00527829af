"""What FedAdagrad, FedAdam and FedYogi share (Reddi et al. 2021, arXiv:2003.00295, algorithm 2). Pure.

With the mean update d (FedAvg's, weighted by samples): m <- beta1 m + (1 - beta1) d, v as each of them has it, and then
model <- model + learning_rate m / (sqrt(v) + tau). m begins with 0 and v with tau^2, and neither is corrected for that.
"""

from collections.abc import Callable

import numpy as np

from fedcore.strategies import fedavg
from fedcore.strategies.strategy import Parameters, Strategy
from fedcore.tensors.arithmetic import Array

Second = Callable[[Array, Array, Parameters], Array]  # v and the squares of the mean update to the new v


def strategy(name: str, second: Second, *more: str) -> Strategy:
    """One of them. Every product, sum, quotient and root is rounded by itself: bits depend on no processor."""

    def optimize(base: Array, update: Array, memory: Array, parameters: Parameters) -> tuple[Array, Array]:
        number, beta = base.dtype.type, parameters["beta1"]
        m = number(beta) * memory[:, 0] + number(1 - beta) * update
        v = second(memory[:, 1], np.square(update), parameters)
        step = number(parameters["learning_rate"]) * m / (np.sqrt(v) + number(parameters["tau"]))
        return base + step, np.stack([m, v], axis=1)

    numbers = frozenset({"learning_rate", "beta1", "tau", *more})
    return Strategy(name, fedavg.weights, numbers, optimize=optimize, memory=2, start=_start, itemwise=True)


def _start(parameters: Parameters) -> tuple[float, float]:
    return 0.0, parameters["tau"] * parameters["tau"]
