"""FedAvg (McMahan et al. 2017, algorithm 1): the mean of the updates weighted by n_k / n. Pure."""

from collections.abc import Sequence
from fractions import Fraction


def weights(samples: Sequence[int]) -> tuple[Fraction, ...]:
    """n_k / n for each site, exactly; all zero when nobody has samples."""
    total = sum(samples)
    return tuple(Fraction(n, total) if total else Fraction(0) for n in samples)
