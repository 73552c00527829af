"""Weights of rules to which all updates are equal. Pure."""

from collections.abc import Collection
from fractions import Fraction

from fedcore.strategies.strategy import Cohort, Parameters, Weights


def weights(cohort: Cohort, _parameters: Parameters) -> Weights:
    """1 / n for each."""
    return of(range(len(cohort.updates)), len(cohort.updates))


def of(chosen: Collection[int], count: int) -> Weights:
    """The mean of the chosen ones among so many."""
    share = Fraction(1, max(1, len(chosen)))
    return tuple(share if index in chosen else Fraction(0) for index in range(count))
