"""How many updates a round needs for its strategy to mean anything: by f, the sites that may send whatever they like. Pure.

Used by the operator (which says so before a round), the CRD's rules, and fedcore.strategies (which refuses to aggregate fewer).
"""

from collections.abc import Mapping

FEWEST: Mapping[str, tuple[int, int]] = {  # a and b of a f + b
    "TrimmedMean": (2, 1),
    "Krum": (2, 3),
    "MultiKrum": (2, 3),
    "Bulyan": (4, 3),
}


_OTHERS: Mapping[str, tuple[int, int]] = {"FLTrust": (0, 2)}  # the root client's update, and one


def fewest(strategy: str, byzantine: int = 0) -> int:
    """Updates that a strategy is defined for; 1 where nothing is said here."""
    factor, more = FEWEST.get(strategy) or _OTHERS.get(strategy, (0, 1))
    return factor * byzantine + more


def before_mixing(least: int, bucket_size: int = 1, byzantine: int = 0) -> int:
    """Updates that so many means are made of, one per bucket; of nearest neighbours the honest ones are a majority."""
    return max((least - 1) * bucket_size + 1, 2 * byzantine + 1)
