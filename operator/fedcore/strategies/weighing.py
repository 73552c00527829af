"""How much each update of a round counts, by the plan's strategy: for parameters, and for all else. Pure.

Called by the engine's fold before it reads a block.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from fedapi.wire.fewest import before_mixing
from fedcore.strategies import preaggregation
from fedcore.strategies.folding import Rules
from fedcore.strategies.preaggregation import Groups
from fedcore.strategies.strategy import Cohort, Update, Weights


class TooFewUpdatesError(ValueError):
    """A round has fewer updates than its strategy is defined for."""


@dataclass(frozen=True)
class Weight:
    """How much one update counts."""

    parameters: Fraction
    others: Fraction  # float buffers and integers
    tensors: Mapping[str, Fraction] | None = None  # parameters by name, where each counts by itself

    @property
    def counts(self) -> bool:
        """Whether it has any part in the round."""
        return bool(self.parameters or self.others or (self.tensors and any(self.tensors.values())))


@dataclass(frozen=True)
class Weighed:
    """How much each counts, and of which means a rule that looks at every number makes the next model."""

    weights: tuple[Weight, ...]
    groups: Groups = ()  # indices among the updates that count; none: the updates themselves


def least(rules: Rules) -> int:
    """The fewest updates that a round's strategy, and what comes before it, are defined for."""
    found, pre = rules.strategy.least(rules.parameters), rules.pre
    return before_mixing(found, pre.bucket_size, pre.byzantine) if pre else found


def needs_gram(rules: Rules) -> bool:
    """Whether updates are weighed by their inner products."""
    return rules.strategy.gram or preaggregation.needs_gram(rules.pre)


def weighed(rules: Rules, cohort: Cohort) -> Weighed:
    """The weights of a round's updates. TooFewUpdatesError where the strategy needs more of them."""
    strategy, parameters, found = rules.strategy, rules.parameters, len(cohort.updates)
    if found < (needed := least(rules)):
        raise TooFewUpdatesError(f"strategy {strategy.name} needs {needed} updates with samples, {found} came")
    if strategy.rooted and all(update.client != cohort.root for update in cohort.updates):
        text = (
            f"strategy {strategy.name} needs the update of its root client {cohort.root!r}, which has none with samples"
        )
        raise TooFewUpdatesError(text)
    if rules.pre is not None:
        return _of_means(rules, cohort, preaggregation.groups(rules.pre, cohort))
    weights = strategy.weights(cohort, parameters)
    others = strategy.buffers(cohort, parameters) if strategy.buffers else weights
    return Weighed(tuple(Weight(*each) for each in zip(weights, others, strict=True)))


def _of_means(rules: Rules, cohort: Cohort, groups: Groups) -> Weighed:
    """The same of a strategy that is given means over groups: one of sums weighs the updates, another gets the means."""
    gram = None if cohort.gram is None else preaggregation.mixed(cohort.gram, groups)
    means = replace(cohort, updates=tuple(Update(1, None) for _ in groups), gram=gram)
    shares = rules.strategy.weights(means, rules.parameters)
    weights = _spread(shares, groups, len(cohort.updates))
    places = {index: place for place, index in enumerate(i for i, weight in enumerate(weights) if weight)}
    chosen = [group for share, group in zip(shares, groups, strict=True) if share]
    return Weighed(
        tuple(Weight(weight, weight) for weight in weights),
        () if rules.strategy.sums else tuple(tuple(places[index] for index in group) for group in chosen),
    )


def _spread(shares: Weights, groups: Groups, count: int) -> Sequence[Fraction]:
    """Of each update what it has in all means together."""
    found = [Fraction(0)] * count
    for share, group in zip(shares, groups, strict=True):
        for index in group if share else ():
            found[index] += share / len(group)
    return found
