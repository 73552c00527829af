"""What a codec is: how a tensor is laid out as parts of a file, and two pure functions, there and back. Pure.

A codec's module names one as CODEC (all are in table.py). Tensors are seen as their items in a row, in blocks of float32, whatever
they are kept as. Whoever encodes gives passes over them, all finite; whoever decodes asks for any part of them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedapi.wire.compression import Encoding
from fedcore.tensors.arithmetic import Array

PASS_ITEMS = 1 << 15  # of a block of a pass: 128 KiB, so that it and what is made of it stay in the processor's cache
Pass = Callable[[], Iterator[Array]]  # a tensor in blocks of PASS_ITEMS, the last may be shorter; valid until the next
Draw = Callable[[int], Array]  # so many random 16-bit numbers
Read = Callable[
    [int, int, int], Array
]  # part, first item, items: as they are stored; valid until that part is read again


class EncodingError(ValueError):
    """Values that the codec cannot hold; the message says which, and what can."""


class MalformedEncodingError(ValueError):
    """Bytes that no encoder has made; the message says what is wrong with them."""


@dataclass(frozen=True)
class Kind:
    """A tensor that is encoded."""

    dtype: str
    shape: tuple[int, ...]
    items: int


@dataclass(frozen=True)
class Part:
    """One tensor of the file: named as the encoded one, with a suffix."""

    suffix: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Codec:
    """How a tensor is sent.

    parts: of a tensor, in the order of their bytes; no part is empty where the tensor is not.
    encode: the bytes of all parts, one after the other.
    index: what is known of a tensor once before it is decoded; small beside it, and checked.
    decode: fills `out` with the items from `start` on, by strict float32 arithmetic: the same bits at every processor.
    once: whether numbers are read once, where items are asked for once.
    """

    name: str
    parts: Callable[[Kind, Encoding], tuple[Part, ...]]
    encode: Callable[[Pass, Kind, Encoding, Draw], Iterator[Array]]
    decode: Callable[[Read, Any, int, Array], None]
    index: Callable[[Read, Kind, Encoding], Any] = lambda _read, _kind, _encoding: None
    once: bool = True


def noise(seed: int) -> Draw:
    """Numbers for stochastic rounding: SFC64 (Doty-Humphrey), whose raw output numpy keeps the same in all versions.

    Asked for multiples of 4 numbers, however many at a time, it gives the same row of them.
    """
    generator = np.random.SFC64(seed)

    def draw(count: int) -> Array:
        return generator.random_raw(-(-count // 4)).astype("<u8", copy=False).view("<u2")[:count]

    return draw
