"""Where the items of a leading slice lie in the whole tensor, both in a row (C order). Pure.

The slice keeps the order of its items, so that those of it within any part of the whole are a part of the slice. Called for
blocks of either: by the engine's spreading, and by coverage.py.
"""

import math
from functools import lru_cache

import numpy as np

from fedcore.tensors.arithmetic import Array
from fedcore.tensors.submodels import Shape


def before(whole: Shape, part: Shape, position: int) -> int:
    """How many items of the slice, of shape `part`, lie before a position (an item's number) in the tensor of shape `whole`."""
    count, left = 0, position
    for axis, (length, kept) in enumerate(zip(whole, part, strict=True)):
        stride, smaller = math.prod(whole[axis + 1 :]), math.prod(part[axis + 1 :])
        index, left = divmod(left, stride)
        count += min(index, kept) * smaller
        if index >= kept or index >= length:
            break
    return count


@lru_cache(maxsize=16)  # one for each update of a width is asked for, of the blocks that threads are at
def within(whole: Shape, part: Shape, start: int, stop: int) -> Array:
    """Of each item from start to stop whether it is in the slice: bool (stop - start,), not to be written to."""
    found = _within(whole, part, start, stop)
    found.flags.writeable = False
    return found


def _within(whole: Shape, part: Shape, start: int, stop: int) -> Array:
    axis = _last_sliced(whole, part)
    if axis is None:
        return np.ones(stop - start, bool)
    rest = math.prod(whole[axis + 1 :])
    period, run = whole[axis] * rest, part[axis] * rest  # of a row: its items, and those at its begin that are kept
    first, last = start // period, -(-stop // period)
    kept = _kept_rows(whole[:axis], part[:axis], first, last)
    if period <= stop - start:
        rows = np.zeros((last - first, period), bool)
        rows[kept, :run] = True
        return rows.reshape(-1)[start - first * period : stop - first * period]
    found = np.zeros(stop - start, bool)
    for row in np.flatnonzero(kept) + first:  # of a long row a part is asked for: two at most
        begin = int(row) * period - start
        found[max(0, begin) : max(0, begin + run)] = True
    return found


def _last_sliced(whole: Shape, part: Shape) -> int | None:
    """The last dimension in which the slice is smaller; None where it is the whole."""
    return next((axis for axis in range(len(whole) - 1, -1, -1) if part[axis] < whole[axis]), None)


def _kept_rows(whole: Shape, part: Shape, first: int, last: int) -> Array:
    """Which rows, numbered over the dimensions before the last sliced one, the slice has."""
    kept, left = np.ones(last - first, bool), np.arange(first, last)
    for length, most in zip(reversed(whole), reversed(part), strict=True):
        left, index = np.divmod(left, length)
        kept &= index < most
    return kept
