"""FedAvg (McMahan et al. 2017, algorithm 1): the mean of the updates weighted by n_k / n. Pure."""

from collections.abc import Sequence


def weights(samples: Sequence[int]) -> tuple[float, ...]:
    """n_k / n for each site; all zero when nobody has samples."""
    total = sum(samples)
    return tuple(n / total if total else 0.0 for n in samples)
