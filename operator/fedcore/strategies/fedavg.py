"""FedAvg (McMahan et al. 2017, algorithm 1): the mean of the updates weighted by n_k / n. Pure."""

from collections.abc import Sequence
from fractions import Fraction

from fedcore.strategies.strategy import Parameters, Strategy, Update


def weights(updates: Sequence[Update], _parameters: Parameters) -> tuple[Fraction, ...]:
    """n_k / n for each site, exactly; all zero when nobody has samples."""
    total = sum(update.samples for update in updates)
    return tuple(Fraction(update.samples, total) if total else Fraction(0) for update in updates)


STRATEGY = Strategy("FedAvg", weights)
