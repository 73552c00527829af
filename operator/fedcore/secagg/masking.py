"""Masks of whole models: AES-256-CTR keystreams added to a vector of Z_2^32, in place, block by block. Pure.

A keystream's bytes are uniform on the ring as they are, four to an item, little endian. A key makes one mask, from counter 0 on,
and is never used again. All masks are added to a block while it is in the processor's cache. One thread: the cipher holds
Python's lock, so more threads of one process are slower.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from fedcore.tensors.arithmetic import Array

_BLOCK_BYTES = 1 << 16


@dataclass(frozen=True)
class Mask:
    """One keystream, added or subtracted."""

    key: bytes = field(repr=False)
    added: bool

    def inverse(self) -> "Mask":
        """What takes it away again."""
        return Mask(self.key, not self.added)


class Streams:
    """Masks that are applied to a vector part by part, in the vector's order: each goes on where it was."""

    def __init__(self, masks: Iterable[Mask]) -> None:
        self._streams = [
            (Cipher(algorithms.AES256(mask.key), modes.CTR(bytes(16))).encryptor().update_into, _operation(mask))
            for mask in masks
        ]
        self._zeros, self._room = bytes(_BLOCK_BYTES), np.empty(_BLOCK_BYTES, np.uint8)

    def apply(self, part: Array) -> None:
        """Adds the masks to the next part: contiguous little-endian uint32."""
        if part.dtype != np.dtype("<u4") or part.ndim != 1 or not part.flags.c_contiguous:
            raise ValueError("a mask is for a contiguous vector of little-endian uint32")
        for at in range(0, part.size, _BLOCK_BYTES // 4):
            block = part[at : at + _BLOCK_BYTES // 4]
            stream = self._room[: block.nbytes]
            for fill, operation in self._streams:
                fill(memoryview(self._zeros)[: block.nbytes], stream.data)
                operation(block, stream.view("<u4"), out=block)


def apply(vector: Array, masks: Iterable[Mask]) -> None:
    """The same of a vector that is there as a whole."""
    Streams(masks).apply(vector)


def _operation(mask: Mask) -> np.ufunc:
    return np.add if mask.added else np.subtract


def add(total: Array, vector: Array) -> None:
    """Adds a masked update to the sum of those before it, modulo 2^32."""
    np.add(total, vector, out=total)


def keystream(key: bytes, size: int) -> bytes:
    """So many bytes of a key's stream: coefficients of polynomials."""
    return Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor().update(bytes(size))
