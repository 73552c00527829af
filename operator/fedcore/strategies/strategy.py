"""What a strategy is: pure functions, and how much the hub remembers from round to round. Pure.

A strategy's module names one as STRATEGY (see table.py). weighing.py asks it how much each update counts, folding.py
takes blocks through it. Each function gets the parameters that the round's plan has frozen.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from fedapi.wire.training import Method, TrainingSettings
from fedcore.tensors import arithmetic, integers
from fedcore.tensors.arithmetic import Accumulator, Array, Terms

Parameters = Mapping[str, float]
Weights = tuple[Fraction, ...]


class StrategyFailedError(ValueError):
    """A strategy of somebody's own raised an error, or gave what is no part of a model."""


@dataclass(frozen=True)
class Update:
    """A site's update as it is weighed."""

    samples: int
    steps: int | None  # unknown from trainers of version 0.1
    client: str = ""
    staleness: int = 0  # commits between its base and the round's; in asynchronous rounds


@dataclass(frozen=True)
class Cohort:
    """The updates of a round, in the order of its plan, and what they may be weighed by besides."""

    updates: tuple[Update, ...]
    gram: Array | None = None
    """Inner products of the updates' float parameters, n x n float64 (tensors/gram.py); for a strategy that asks for it."""
    training: TrainingSettings = field(default_factory=TrainingSettings)  # of the plan
    seed: int = 0  # of this attempt, for a strategy that draws
    root: str = ""  # the client that a strategy trusts, where it trusts one

    @property
    def inner_products(self) -> Array:
        """The Gram matrix of a strategy that asked for it."""
        if self.gram is None:
            raise ValueError("this strategy does not ask for inner products: its `gram` must be True")
        return self.gram


Weigh = Callable[[Cohort, Parameters], Weights]
Combine = Callable[[Terms, Accumulator, Parameters], Array]
Integers = Callable[[Array, Terms], Array]
Optimize = Callable[[Array, Array, Array, Parameters], tuple[Array, Array]]
Absorb = Callable[[Array, Iterable[Array], Parameters], Array]
Site = Callable[[Parameters, int], Method | None]


def summed(terms: Terms, accumulator: Accumulator, _parameters: Parameters) -> Array:
    """The weighted sum: what most strategies make of the updates."""
    return arithmetic.weighted_sum(terms, accumulator)


def added(base: Array, update: Array, memory: Array, _parameters: Parameters) -> tuple[Array, Array]:
    """Base + update: no optimizer at the hub. In place of the update."""
    return np.add(base, update, out=update), memory


def from_zero(_parameters: Parameters) -> tuple[float, ...]:
    """Memory that begins with zeros."""
    return (0.0,)


def no_part(_parameters: Parameters, _sites: int) -> None:
    """Sites make steps of their optimizer and no more."""


def one_is_enough(_parameters: Parameters) -> int:
    """A rule that any number of updates will do for."""
    return 1


@dataclass(frozen=True)
class Strategy:
    """How updates become the next model.

    weights: how much each update counts, in the order of the plan; one that counts 0 is left out of the round.
    parameters: names of the numbers that it takes, all of them.
    combine: one block of all updates, as a stream of (weight, block), to one block; a rule that needs them at once
        stacks the stream. Floats only.
    optimize: (base, combined update, memory) to (new model, new memory), for blocks of parameters; never of buffers.
    memory: how many numbers the hub keeps per item of a parameter; the block of memory has shape (items, memory).
    start: the numbers that an item's memory begins with, one for all or one for each.
    buffers: how much an update counts for float buffers and integers, where that is not what it counts for parameters.
    integers: (base, stream) to the new values of an integer tensor.
    least: the fewest updates that it is defined for.
    gram: whether `weights` needs the inner products of the updates; it costs a pass over them.
    rooted: whether it trusts one client, without whose update there is no round.
    site: what it asks of the trainings, in a job of so many sites.
    absorb: (memory after `optimize`, stream of changes, one of each update that counts) to the new memory: of a strategy
        whose sites send the payload `control` beside the update.
    divisible: whether it may step a part of the model in a round, and the others in theirs (tensors/fragments.py).
    mixable: whether means over groups of updates may take the place of the updates (preaggregation.py): all count alike.
    itemwise: whether it takes updates of sub-models (coverage.py): it is a mean of each item by itself, with weights that are
        the same for all items, and then at most an optimizer of each item by itself.
    """

    name: str
    weights: Weigh
    parameters: frozenset[str] = frozenset()
    combine: Combine = summed
    optimize: Optimize = added
    memory: int = 0
    start: Callable[[Parameters], tuple[float, ...]] = from_zero
    buffers: Weigh | None = None
    integers: Integers = integers.averaged
    least: Callable[[Parameters], int] = one_is_enough
    gram: bool = False
    site: Site = no_part
    absorb: Absorb | None = None
    mixable: bool = False
    rooted: bool = False
    itemwise: bool = False
    divisible: bool = False

    @property
    def sums(self) -> bool:
        """Whether it combines by a weighted sum: then all that it does to updates is in the weights."""
        return self.combine is summed

    @property
    def kept(self) -> int | None:
        """Numbers per item in the file that the hub keeps; None: no file.

        Nothing but that file tells parameters from buffers of a model that was folded, so a strategy that treats the two
        alike has none, and any other has one, if only of no numbers.
        """
        tells_apart = self.memory or self.gram or self.mixable or self.buffers or self.optimize is not added
        return self.memory if tells_apart else None
