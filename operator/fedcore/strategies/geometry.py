"""Distances, and whatever else follows from the inner products of updates, the same bits on every machine. Pure.

Used by robust rules. Matrices are added and multiplied item by item, sums of many numbers are rounded once (math.fsum): no
BLAS, whose order of summation is its own.
"""

import math
from collections.abc import Sequence

import numpy as np

from fedcore.tensors.arithmetic import Array

Matrix = Sequence[Sequence[float]]


def norms(gram: Array) -> list[float]:
    """Euclidean lengths."""
    return [math.sqrt(square) for square in np.diag(gram).tolist()]


def squared_distances(gram: Array) -> list[list[float]]:
    """Between each two; rounding leaves none below 0."""
    squares = np.diag(gram)
    found = squares[:, None] + squares
    found -= 2 * gram
    return np.maximum(found, 0).tolist()  # type: ignore[no-any-return]


def nearest(row: Sequence[float], count: int) -> list[int]:
    """The indices of so many smallest distances; of equal ones the first."""
    return sorted(range(len(row)), key=lambda index: (row[index], index))[:count]


def distances_to_mean(gram: Array, shares: Sequence[float]) -> list[float]:
    """From each update to their weighted mean."""
    to_mean = [math.fsum(row) for row in (gram * np.asarray(shares)).tolist()]
    square = math.fsum(share * product for share, product in zip(shares, to_mean, strict=True))
    own = np.diag(gram).tolist()
    return [math.sqrt(max(0.0, own[i] - 2 * product + square)) for i, product in enumerate(to_mean)]
