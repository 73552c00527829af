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


def apply(vector: Array, masks: Iterable[Mask]) -> None:
    """Adds the masks to a contiguous vector of little-endian uint32."""
    if vector.dtype != np.dtype("<u4") or vector.ndim != 1 or not vector.flags.c_contiguous:
        raise ValueError("a mask is for a contiguous vector of little-endian uint32")
    streams = [
        (Cipher(algorithms.AES256(mask.key), modes.CTR(bytes(16))).encryptor().update_into, _operation(mask))
        for mask in masks
    ]
    zeros, room = bytes(_BLOCK_BYTES), np.empty(_BLOCK_BYTES, np.uint8)
    for at in range(0, vector.size, _BLOCK_BYTES // 4):
        block = vector[at : at + _BLOCK_BYTES // 4]
        stream = room[: block.nbytes]
        for fill, operation in streams:
            fill(memoryview(zeros)[: block.nbytes], stream.data)
            operation(block, stream.view("<u4"), out=block)


def _operation(mask: Mask) -> np.ufunc:
    return np.add if mask.added else np.subtract


def add(total: Array, vector: Array) -> None:
    """Adds a masked update to the sum of those before it, modulo 2^32."""
    np.add(total, vector, out=total)


def keystream(key: bytes, size: int) -> bytes:
    """So many bytes of a key's stream: coefficients of polynomials."""
    return Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor().update(bytes(size))
