"""Which numbers of a model file are summed under masks, in which order, and how much of a site's counts. Pure; of hub and site alike.

The vector is all floating tensors that travel, one after the other as they lie in the canonical file (tensorfile.canonical_header).
Integers, which no ring of steps holds, are left out: they stay as they are in the base.
"""

from collections.abc import Collection, Iterable, Sequence

from fedcore.tensors import tensorfile
from fedcore.tensors.arithmetic import FLOATS
from fedcore.tensors.tensorfile import ITEM_BYTES, Tensor, TensorFile

VALUE_BYTES = 4  # of an element of the ring, as it is sent


def carried(table: TensorFile, names: Collection[str] | None = None) -> tuple[Tensor, ...]:
    """The tensors of the vector, where they are in the canonical file of that table. `names`: no others; None: all floating ones."""
    _, file = tensorfile.canonical_header(table.tensors)
    return tuple(t for t in file.tensors if t.dtype in FLOATS and (names is None or t.name in names))


def items(tensors: Iterable[Tensor]) -> int:
    """Values of the vector."""
    return sum(size(tensor) for tensor in tensors)


def size(tensor: Tensor) -> int:
    """Values of a tensor."""
    return (tensor.end - tensor.begin) // ITEM_BYTES[tensor.dtype]


def weight(samples: int, whole_samples: int | None) -> float:
    """How much of an update a site masks, from 0 to 1. `whole_samples`: an update of so many counts whole; None: each does."""
    if whole_samples is None:
        return 1.0
    return min(1.0, samples / whole_samples) if whole_samples else 0.0


def total_weight(samples: Sequence[int], whole_samples: int | None) -> float:
    """What the sum of such updates is divided by."""
    return sum(weight(each, whole_samples) for each in sorted(samples))
