"""Averages of integers, exact: base + sum(weight * (local - base)), rounded once, half to even; and medians.

An update of an integer tensor is local - base modulo 2^bits: it tells the local value, whatever the distance. Weights
are fractions, so the sum is one of integers over a common denominator: in int64 while that surely holds it, which is
always so for 8 and 16 bits, else in Python's integers. Rules of fedcore.strategies. Pure.
"""

import math
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
_ROOM = 1 << 61  # twice a sum, and a denominator more, is still an int64


def averaged(base: Array, terms: Iterable[tuple[Fraction, Array]]) -> Array:
    """The new values, of the base's type. `terms`: weight and update, an array of that type too."""
    total, scale, bound = np.zeros(base.size, np.int64), 1, 0
    for weight, update in terms:
        if not update.any():
            continue  # most integers never change
        distance = _distance(base, update)
        common = math.lcm(scale, Fraction(weight).denominator)
        factor = Fraction(weight).numerator * (common // Fraction(weight).denominator)
        bound = bound * (common // scale) + abs(factor) * _largest(distance)
        if max(bound, common, abs(factor)) >= _ROOM:
            total, distance = total.astype(object), distance.astype(object)
        total, scale = total * (common // scale) + distance * factor, common
    return _within(base, _rounded(total, scale)) if bound else base


def median(base: Array, terms: Iterable[tuple[Fraction, Array]]) -> Array:
    """The median of the local values, whatever their weights; of an even count the lower of the two: a value that a site has."""
    local = [np.add(base, update) for _, update in terms]
    if not local:
        return base
    middle: Array = np.partition(np.stack(local), (len(local) - 1) // 2, axis=0)[(len(local) - 1) // 2]
    return middle


def _distance(base: Array, update: Array) -> Array:
    """Local - base as an int64, or as Python's integers where that may be too small."""
    with np.errstate(over="ignore"):
        local = np.add(base, update)
    if base.dtype.itemsize < 8 or max(_largest(base), _largest(local)) < _ROOM:
        near: Array = np.subtract(local.astype(np.int64), base.astype(np.int64))
        return near
    far: Array = np.subtract(local.astype(object), base.astype(object))
    return far


def _rounded(total: Array, scale: int) -> Array:
    """Total / scale, half to even."""
    twice = 2 * total + scale
    halves = 2 * scale
    quotient = twice // halves  # halves go up
    odd_half = (twice == quotient * halves) & (quotient % 2 != 0)
    rounded: Array = quotient - odd_half
    return rounded


def _within(base: Array, change: Array) -> Array:
    """Base + change in the base's type. A mean is within; what weights of another sum make is cut off at the ends."""
    near = max(_largest(base), _largest(change)) < _ROOM
    wide = base.astype(np.int64 if near else object) + change
    limits = np.iinfo(base.dtype)
    lowest, highest = (
        (limits.min, limits.max) if not near else (max(limits.min, -_ROOM * 2), min(limits.max, _ROOM * 2))
    )
    within: Array = np.clip(wide, lowest, highest).astype(base.dtype)
    return within


def _largest(values: Array) -> int:
    return max(abs(int(values.min())), abs(int(values.max()))) if values.size else 0
