"""SCAFFOLD (Karimireddy et al. 2020, arXiv:1910.06378, algorithm 1): sites correct their steps by control variates. Pure.

The hub's part: x <- x + rate * mean of the updates, all counting the same, and the sum of all changes of the sites' controls,
which is what the paper's c is a mean of: c = sum / N, and c <- c + |S| / N * mean(change) is sum <- sum + sum(change). The sum
is kept because N may grow: the mean of N controls stays one whatever N is by then. N goes to the sites with the plan.
"""

from collections.abc import Iterable

import numpy as np

from fedapi.wire.training import Method
from fedcore.strategies import fedavg, fedsgd, uniform
from fedcore.strategies.strategy import Parameters, Strategy
from fedcore.tensors.arithmetic import Array


def absorb(memory: Array, changes: Iterable[Array], _parameters: Parameters) -> Array:
    """The sum of the sites' controls after their changes, which are added in the order of the plan."""
    total = memory.copy()
    for change in changes:
        np.add(total, change, out=total)
    return total


def site(_parameters: Parameters, sites: int) -> Method:
    """Controls, of as many sites as the job has."""
    return Method(control_variates=sites)


STRATEGY = Strategy(
    "SCAFFOLD",
    uniform.weights,
    frozenset({"learning_rate"}),
    optimize=fedsgd.optimize,
    memory=1,
    buffers=fedavg.weights,
    site=site,
    absorb=absorb,
)
