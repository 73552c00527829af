"""One module per strategy: by how much each update counts. `STRATEGIES` has one entry per JobConfig.strategy.

Read by closing; the weighted sum itself is the same for all and is in fedcore.tensors.arithmetic. Pure.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from fedcore.strategies import fedavg


@dataclass(frozen=True)
class Strategy:
    """By how much each update counts: `weights(samples per site) -> factor per site`."""

    name: str
    weights: Callable[[Sequence[int]], tuple[Fraction, ...]]


STRATEGIES: Mapping[str, Strategy] = {"FedAvg": Strategy("FedAvg", fedavg.weights)}
