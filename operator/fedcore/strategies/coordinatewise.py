"""What rules that look at each number by itself share: all updates' values of it side by side, sorted. Pure.

Used by Median, TrimmedMean and Bulyan. A block is gone through in pieces that fit a processor's cache; memory is a block
per update, whatever the size of the model.
"""

from collections.abc import Callable, Collection

import numpy as np

from fedcore.tensors import sorting
from fedcore.tensors.arithmetic import Accumulator, Array, Terms

Rows = list[Array]


def by_rank(
    terms: Terms,
    accumulator: Accumulator,
    wanted: Callable[[int], Collection[int]],
    made: Callable[[Rows, Array], None],
) -> Array:
    """A block of all updates to one. `wanted`: the ranks that are needed of so many; `made` puts the result of rows into an array.

    A negative zero becomes a positive one first: which of two zeros is the smaller depends on the processor.
    """
    stacked = Rows()
    for index, (_, block) in enumerate(terms):
        stacked.append(np.add(block, 0, out=accumulator.row("ranked", index)))
    total, ranks = accumulator.total, wanted(len(stacked))
    if not stacked:
        total.fill(0)
        return total
    for start in range(0, total.size, sorting.ITEMS):
        piece = slice(start, start + sorting.ITEMS)
        spare = accumulator.product[piece]
        made(sorting.ranked([row[piece] for row in stacked], ranks, spare), total[piece])
    return total


def middle(count: int) -> tuple[int, int]:
    """The ranks of the median of so many: the same twice where their number is odd."""
    return (count - 1) // 2, count // 2


def halves(rows: Rows, out: Array) -> None:
    """The mean of the two middle rows; each is halved first, for a sum of two large numbers may be none."""
    low, high = (rows[rank] for rank in middle(len(rows)))
    half = out.dtype.type(0.5)
    if low is high:
        out[...] = low
        return
    np.multiply(low, half, out=low)
    np.multiply(high, half, out=high)
    np.add(low, high, out=out)


def mean(rows: Rows, out: Array) -> None:
    """The mean of rows, added in their order; each is divided first, as above."""
    share = out.dtype.type(1 / len(rows))
    out.fill(0)
    for row in rows:
        np.multiply(row, share, out=row)
        np.add(out, row, out=out)
