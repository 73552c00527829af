"""How much of an update counts, so that no site changes a sum by more than the clip norm (McMahan et al. 2018). Pure.

Flat: min(1, C / |u|) of the whole update. PerLayer: of each tensor by a bound of its own, C / sqrt(number of tensors), so that all
together are within C. Norms are Euclidean, of float64 squares that are added in a fixed order.
Called by the engine's fold with what its pass over the updates has found.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Clipping = Literal["Flat", "PerLayer"]
Floats = NDArray[np.float64]
_SLACK = 1 - 2.0**-20  # what is left to the roundings of float32 products, which must not lead over the bound
_RUN = 8192  # squares are added in runs of so many, by halves


def squared(block: NDArray[np.floating]) -> float:
    """The sum of a block's squares: the bits depend on no processor."""
    squares = np.square(block, dtype=np.float64)
    total = 0.0
    for start in range(0, squares.size, _RUN):
        total += _by_halves(squares[start : start + _RUN])
    return total


def _by_halves(squares: Floats) -> float:
    padded = np.zeros(_RUN)
    padded[: squares.size] = squares
    while padded.size > 1:
        half = padded.size // 2
        padded = padded[:half] + padded[half:]
    return float(padded[0])


def factors(squares: Floats, clip_norm: float, clipping: Clipping) -> Floats:
    """How much of each tensor of each update counts, from 0 to 1: both of shape (updates, tensors)."""
    if clipping == "PerLayer":
        return _within(squares, clip_norm / np.sqrt(max(1, squares.shape[1])))
    whole = _within(_added(squares), clip_norm)
    return np.broadcast_to(whole[:, None], squares.shape)


def norms(squares: Floats) -> Floats:
    """Of the whole updates, as `factors` has them."""
    return np.sqrt(_added(squares))


def _added(squares: Floats) -> Floats:
    total = np.zeros(squares.shape[0])
    for column in squares.T:
        total += column
    return total


def _within(squares: Floats, bound: float) -> Floats:
    norms, most = np.sqrt(squares), bound * _SLACK
    return np.divide(most, norms, out=np.ones_like(norms), where=norms > most)
