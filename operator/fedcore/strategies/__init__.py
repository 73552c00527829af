"""One module per strategy, each three functions and no class tree: weight, combine and (later) server-optimize.

`STRATEGIES` is read by committing (weights); block arithmetic is in fedcore.folding. Pure.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fedcore.strategies import fedavg


@dataclass(frozen=True)
class Strategy:
    """How updates become one update: `weights(samples per site) -> factor per site`."""

    name: str
    weights: Callable[[Sequence[int]], tuple[float, ...]]


STRATEGIES: Mapping[str, Strategy] = {"FedAvg": Strategy("FedAvg", fedavg.weights)}
