"""Lengths of updates and of their tensors, the same bits on every machine. Pure.

Made by the engine's scoring pass, block after block, each in the plan's order. Sums of squares are of float64, in a fixed order
(tensors/kernels.py): a judgement that is made again after a crash, on whatever machine, is the same.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add

import numpy as np

from fedcore.tensors import kernels
from fedcore.tensors.arithmetic import Array

Run = tuple[str, int]  # a tensor, and how many of its items are in a block
_DIGITS, _LONGEST = 12, 1e300


@dataclass(frozen=True)
class Lengths:
    """Sums of squares of the tensors of n updates, filled block by block."""

    layers: tuple[str, ...]
    squares: Array  # layers x updates, float64
    _places: dict[str, int] = field(default_factory=dict)

    @staticmethod
    def of(layers: Sequence[str], updates: int) -> "Lengths":
        """Nothing yet."""
        places = {name: at for at, name in enumerate(layers)}
        return Lengths(tuple(layers), np.zeros((len(layers), updates)), places)

    def add(self, update: int, runs: Iterable[Run], block: Array) -> None:
        """What one update has of a block: float32 or float64 items of tensors that follow each other."""
        start = 0
        for layer, items in runs:
            self.squares[self._places[layer], update] += kernels.squares(block[start : start + items])
            start += items

    @property
    def norms(self) -> tuple[float, ...]:
        """Of the updates."""
        return tuple(length(column) for column in self.squares.T.tolist())

    def of_layer(self, layer: int) -> tuple[float, ...]:
        """Of one tensor of each update."""
        return tuple(length((square,)) for square in self.squares[layer].tolist())


def length(squares: Iterable[float]) -> float:
    """The root of their sum, to 12 digits; finite, however long it is, because records hold it."""
    return min(_LONGEST, float(f"{math.sqrt(reduce(add, squares, 0.0)):.{_DIGITS}g}"))
