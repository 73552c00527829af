"""What a strategy is: three pure functions, and how much the hub remembers from round to round. Pure.

A strategy's module names one as STRATEGY (see table.py), folding.py takes blocks through it. Each function gets the
parameters that the round's plan has frozen.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from fedcore.tensors import arithmetic
from fedcore.tensors.arithmetic import Accumulator, Array, Terms

Parameters = Mapping[str, float]


@dataclass(frozen=True)
class Update:
    """A site's update as it is weighed."""

    samples: int
    steps: int | None  # unknown from trainers of version 0.1
    blocks: Callable[[], Iterator[Array]]
    """A pass over its float tensors, in working blocks of one order for all updates; each valid until the next of the
    same update. A strategy that weighs by content reads them, one that needs none leaves the files alone."""


Weights = Callable[[Sequence[Update], Parameters], tuple[Fraction, ...]]
Combine = Callable[[Terms, Accumulator], Array]
Optimize = Callable[[Array, Array, Array, Parameters], tuple[Array, Array]]


def added(base: Array, update: Array, memory: Array, _parameters: Parameters) -> tuple[Array, Array]:
    """Base + update: no optimizer at the hub. In place of the update."""
    return np.add(base, update, out=update), memory


@dataclass(frozen=True)
class Strategy:
    """How updates become the next model.

    weights: how much each update counts, in the order of the plan; one that counts 0 is left out of the round.
    combine: one block of all updates, as a stream of (weight, block), to one block; a rule that needs them at once
        stacks the stream. Floats only: integers are averaged by their own rules (tensors/integers.py).
    optimize: (base, combined update, memory) to (new model, new memory), for blocks of parameters; never of buffers.
    parameters: names of the numbers that it takes, all of them.
    memory: how many numbers the hub keeps per item of a parameter; the block of memory has shape (items, memory).
    """

    name: str
    weights: Weights
    parameters: frozenset[str] = frozenset()
    combine: Combine = arithmetic.weighted_sum
    optimize: Optimize = added
    memory: int = 0
