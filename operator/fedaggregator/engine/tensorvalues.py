"""The values of one tensor of a stored model, as often as a codec asks for them. Used by broadcast.py and deltas.py.

What is read is verified in the first pass. Memory is the tensor, or, of a larger one, a block: that later passes read what the
first one did is known by a digest.
"""

import hashlib
from collections.abc import Iterator

import numpy as np

from fedaggregator.engine.verified import Verified
from fedaggregator.errors import DamagedError
from fedcore.compression.codec import PASS_ITEMS
from fedcore.tensors import arithmetic
from fedcore.tensors.arithmetic import Array
from fedcore.tensors.tensorfile import ITEM_BYTES, Tensor

_HELD_BYTES = 32 << 20  # of a tensor that is read once, and held while it is encoded
BLOCK_BYTES = 1 << 20


class UnheldError(Exception):
    """The codec cannot hold the values of some tensors."""

    def __init__(self, names: frozenset[str]) -> None:
        super().__init__(", ".join(sorted(names)))
        self.names = names


class TensorValues:
    """One tensor of a model, as often as it is asked for."""

    def __init__(self, reader: Verified, tensor: Tensor, key: str) -> None:
        self._reader, self._tensor, self._key = reader, tensor, key
        self._size = tensor.end - tensor.begin
        self._held: Array | None = None
        self._first: bytes | None = None  # digest of the first pass

    def floats(self) -> Iterator[Array]:
        """A pass over its items, in float32."""
        item = ITEM_BYTES[self._tensor.dtype]
        room = np.empty(PASS_ITEMS, np.float32)
        for block in self.blocks(PASS_ITEMS * item):
            items = arithmetic.stored(self._tensor.dtype, block)
            with np.errstate(over="ignore"):
                yield arithmetic.decoded(self._tensor.dtype, items, room[: items.size]).astype("<f4", copy=False)

    def blocks(self, size: int = BLOCK_BYTES) -> Iterator[Array]:
        """Its bytes, in blocks of that size; each is valid until the next."""
        if self._size > _HELD_BYTES:
            yield from self._passed(size)
            return
        if self._held is None:
            self._held = np.empty(self._size, np.uint8)
            self._reader.read_into(self._held.data, self._tensor.begin)
        yield from (self._held[at : at + size] for at in range(0, self._size, size))

    def _passed(self, size: int) -> Iterator[Array]:
        """The same, read anew: DamagedError where that gives other bytes than the first time."""
        reader = self._reader if self._first is None else self._reader.unhashed
        room, digest = np.empty(size, np.uint8), hashlib.blake2b()
        for at in range(0, self._size, size):
            block = room[: min(size, self._size - at)]
            reader.read_into(block.data, self._tensor.begin + at)
            digest.update(block.data)
            yield block
        found = digest.digest()
        if self._first not in (None, found):
            raise DamagedError({self._key: f"tensor {self._tensor.name!r} is not read twice as the same bytes"})
        self._first = found
