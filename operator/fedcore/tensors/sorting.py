"""Sorts the rows of a block item by item with minima and maxima alone: what coordinate-wise rules rank by. Pure numpy.

A sorting network (Batcher's merge exchange, Knuth vol. 3, 5.2.2 M) is a fixed list of comparators, each the minimum and the
maximum of two rows: no branches, whole rows at a time, every result one of the values that came in. Comparators that the
wanted ranks do not depend on are left out. Called by fedcore.strategies. Of numbers without NaN and negative zeros the bits
are the same with the compiled library (kernels.py) and without.
"""

from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from fedcore.tensors import kernels
from fedcore.tensors.arithmetic import Array

# Of a row at a time: so many of tens of rows stay in a processor's second cache, which matters without the library alone.
ITEMS = 16384 if kernels.AVAILABLE else 4096


class Comparator(NamedTuple):
    """Puts the smaller of two rows' items into the first and the larger into the second, as far as each is wanted."""

    low: int
    high: int
    keeps_low: bool
    keeps_high: bool


@lru_cache(maxsize=64)
def network(rows: int, wanted: frozenset[int]) -> tuple[Comparator, ...]:
    """Comparators after which the wanted ranks, counted from the smallest, are where they belong."""
    alive, kept = set(wanted), list[Comparator]()
    for low, high in reversed(list(_merge_exchange(rows))):
        keeps = low in alive, high in alive
        if any(keeps):
            kept.append(Comparator(low, high, *keeps))
            alive |= {low, high}
    return tuple(reversed(kept))


def _merge_exchange(rows: int) -> Iterator[tuple[int, int]]:
    first = step = 1 << max(0, (rows - 1).bit_length() - 1)
    while step:
        across, offset, distance = first, 0, step
        while True:
            for index in range(rows - distance):
                if index & step == offset:
                    yield index, index + distance
            if across == step:
                break
            distance, across, offset = across - step, across >> 1, step
        step >>= 1


@lru_cache(maxsize=64)
def _pairs(rows: int, wanted: frozenset[int]) -> Array:
    return np.array([(low, high) for low, high, *_ in network(rows, wanted)], np.int32).reshape(-1, 2)


def ranked(rows: list[Array], wanted: Collection[int], spare: Array) -> list[Array]:
    """The same list, its arrays changed and changed about, with the wanted ranks in their places. `spare`: one array more."""
    ranks = frozenset(wanted)
    if kernels.rank_f32(rows, _pairs(len(rows), ranks)):
        return rows
    for low, high, keeps_low, keeps_high in network(len(rows), ranks):
        if not keeps_high:
            np.minimum(rows[low], rows[high], out=rows[low])
        elif not keeps_low:
            np.maximum(rows[low], rows[high], out=rows[high])
        else:
            np.minimum(rows[low], rows[high], out=spare)
            np.maximum(rows[low], rows[high], out=rows[high])
            rows[low], spare = spare, rows[low]
    return rows
