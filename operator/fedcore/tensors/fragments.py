"""Which part of a model is exchanged in a round, where its fragments take turns (Streaming DiLoCo, Douillard et al. 2025). Pure.

Hub and sites find the same fragments by it, from names and sizes of the tensors that travel. A layer, which is the tensors
whose names differ in their last part alone, is never divided. Layers are dealt out in their order, each to the fragment that
is smallest by then: of layers of one size that is the strided pattern of the paper (arXiv:2501.18512, section 3.2), and of
others no fragment is more than a layer larger than another. It decides bits of models and never changes.
Called by folding.py and intake.py of the aggregator, and by fedtrainer.training.fragments.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from fedcore.tensors.tensorfile import Tensor, TensorFile

_NUMBER = re.compile(r"(\d{1,18})")


class TooManyFragmentsError(ValueError):
    """A model has fewer layers that travel than it is to have fragments."""


@dataclass(frozen=True)
class Turn:
    """The part of a model that is exchanged in a round; without a count all of it."""

    round: int = 1
    count: int | None = None

    @property
    def index(self) -> int:
        """Which of the fragments: one after the other by the numbers of rounds, whatever becomes of a round."""
        return (self.round - 1) % (self.count or 1)

    def of(self, table: TensorFile) -> TensorFile:
        """A file of tensors that travel, of which those of the round are looked at alone."""
        if self.count is None:
            return table
        names = fragments(table.tensors, self.count)[self.index]
        return replace(table, tensors=tuple(tensor for tensor in table.tensors if tensor.name in names))


WHOLE = Turn()


def fragments(tensors: Iterable[Tensor], count: int) -> tuple[frozenset[str], ...]:
    """The names of each. Of tensors only name and size are looked at, and not where they lie."""
    layers: dict[str, list[Tensor]] = {}
    for tensor in tensors:
        layers.setdefault(_layer(tensor.name), []).append(tensor)
    bytes_of = {layer: sum(tensor.end - tensor.begin for tensor in layers[layer]) for layer in layers}
    if (full := sum(size > 0 for size in bytes_of.values())) < count:
        raise TooManyFragmentsError(
            f"strategy.diLoCo.fragments is {count}, and the model has {full} layers that travel: set at most so many"
        )
    sizes, names = [0] * count, [set[str]() for _ in range(count)]
    for layer in sorted(layers, key=_in_order):  # one without values goes with another, so that no fragment is empty
        smallest = sizes.index(min(sizes)) if bytes_of[layer] else 0
        sizes[smallest] += bytes_of[layer]
        names[smallest].update(tensor.name for tensor in layers[layer])
    return tuple(frozenset(each) for each in names)


def _layer(name: str) -> str:
    return name.rpartition(".")[0]


def _in_order(layer: str) -> tuple[tuple[int, int, str], ...]:
    """The tenth layer comes after the ninth."""
    return tuple((0, int(part), part) if part.isdecimal() else (1, 0, part) for part in _NUMBER.split(layer) if part)
