"""Which samples of a batch a rank takes, and in which parts it computes them. Pure; used by steps.py and parallel.py.

Shares are contiguous, in the order of ranks, and differ by one sample at most. A share may be empty.
"""


def share(count: int, rank: int, size: int, least: int = 1) -> range:
    """Positions, within a batch of `count` samples, that belong to a rank.

    No share that is not empty is smaller than `least`, unless the batch itself is: the ranks after them take nothing.
    """
    sharing = max(1, min(size, count // least))
    if rank >= sharing:
        return range(count, count)
    return range(count * rank // sharing, count * (rank + 1) // sharing)


def parts(positions: range, wanted: int, least: int = 1) -> list[range]:
    """Positions in `wanted` parts, of which none is smaller than `least`; fewer parts where there are fewer positions."""
    if not positions:
        return []
    count = max(1, min(wanted, len(positions) // least))
    return [positions[len(positions) * n // count : len(positions) * (n + 1) // count] for n in range(count)]
