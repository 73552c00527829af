"""Where the updates of a round reach, some of which are of sub-models: for any block of the model who has its items. Pure.

Made by the engine before it folds, and asked by it for every block; what follows for the mean is in covered.py.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from fedcore.strategies.covered import Covered
from fedcore.strategies.weighing import Weight
from fedcore.tensors import slices
from fedcore.tensors.arithmetic import Array
from fedcore.tensors.submodels import Shape, Shapes

Run = tuple[str, int, int]  # of a block: a tensor, and from which item to which
_NONE = Weight(Fraction(0), Fraction(0))


@dataclass(frozen=True)
class Group:
    """The updates of one width that count: what they weigh together, and which tensors they have smaller."""

    weight: Weight
    shapes: Shapes


@dataclass(frozen=True)
class Coverage:
    """Of a fold: which updates reach where."""

    model: Mapping[str, Shape]
    whole: Weight  # of the updates of the whole model, together
    groups: tuple[Group, ...]
    padded: bool = False

    def of(self, runs: Iterable[Run], parameters: bool) -> Covered | None:
        """Of the block that these runs make up, one after the other; `parameters`: by the weights of those. None where every site has all of it."""
        runs = tuple(runs)
        if not any(name in group.shapes for name, _, _ in runs for group in self.groups):
            return None
        bits = np.concatenate([self._bits(*run) for run in runs])
        found = np.flatnonzero(np.bincount(bits))
        weights = [_weight(group.weight, parameters) for group in self.groups]
        alone = _weight(self.whole, parameters)
        shares = tuple(
            alone + sum((w for at, w in enumerate(weights) if int(way) >> at & 1), Fraction(0)) for way in found
        )
        total = alone + sum(weights, Fraction(0))
        if all(share == total for share in shares):
            return None
        place = np.zeros(1 << len(self.groups), np.uint16)
        place[found] = np.arange(found.size)
        return Covered(place[bits], shares, total, self.padded)

    def _bits(self, name: str, start: int, stop: int) -> Array:
        """Of each item, which groups have it, a bit of each: uint16 (stop - start,)."""
        found = np.zeros(stop - start, np.uint16)
        for at, group in enumerate(self.groups):
            bit = np.uint16(1 << at)
            if name not in group.shapes:
                found |= bit
            else:
                found |= slices.within(self.model[name], group.shapes[name], start, stop) * bit
        return found


def coverage(
    model: Mapping[str, Shape],
    updates: Iterable[tuple[Weight, float | None]],
    widths: Mapping[float, Shapes],
    padded: bool,
) -> Coverage | None:
    """Of updates with their widths (None: the whole model); None where all are whole.

    `model`: the shapes of its tensors. `widths`: of each width, those of the tensors that are smaller. `padded`: ZeroPadding.
    """
    whole, groups = _NONE, dict[float, Weight]()
    for weight, width in updates:
        if width is None:
            whole = _added(whole, weight)
        else:
            groups[width] = _added(groups.get(width, _NONE), weight)
    if not groups:
        return None
    found = tuple(Group(groups[width], widths[width]) for width in sorted(groups))
    return Coverage(model, whole, found, padded)


def _added(one: Weight, other: Weight) -> Weight:
    return Weight(one.parameters + other.parameters, one.others + other.others)


def _weight(weight: Weight, parameters: bool) -> Fraction:
    return weight.parameters if parameters else weight.others
