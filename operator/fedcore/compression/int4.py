"""Int4: integers from -7 to 7, two in a byte, with a scale for 128 of them (scaled.py); 7.5 times smaller than float32. Pure.

A byte has the earlier integer in its low half, each as a two's complement of 4 bits.
"""

from collections.abc import Iterator

import numpy as np

from fedapi.wire.compression import Encoding
from fedcore.compression import scaled
from fedcore.compression.codec import Codec, Draw, Kind, Part, Pass, Read
from fedcore.compression.scaled import Scales
from fedcore.tensors.arithmetic import Array

BLOCK, LEVELS = 128, 7


def _parts(kind: Kind, _encoding: Encoding) -> tuple[Part, ...]:
    blocks = scaled.blocks_of(kind, BLOCK)
    return Part("/scale", "F32", (blocks,)), Part("", "U8", (blocks, BLOCK // 2))


def _encoded(values: Pass, kind: Kind, _encoding: Encoding, draw: Draw) -> Iterator[Array]:
    yield (found := scaled.scales(values, kind, BLOCK, LEVELS))
    for codes in scaled.integers(values, found, BLOCK, draw):
        pairs = codes.view("<u2")
        yield ((pairs & np.uint16(0x0F)) | ((pairs >> np.uint16(4)) & np.uint16(0xF0))).astype(np.uint8)


def _index(read: Read, kind: Kind, _encoding: Encoding) -> Scales:
    return scaled.read_scales(read, kind, BLOCK, LEVELS)


def _pairs() -> Array:
    """The two floats of each byte, as the 8 bytes that they are."""
    codes = np.arange(256)
    halves = np.stack([codes & 15, codes >> 4], axis=1)
    return np.where(halves < 8, halves, halves - 16).astype("<f4").view("<u8").reshape(-1)


_PAIRS = _pairs()


def _decode(read: Read, known: Scales, start: int, out: Array) -> None:
    skipped = start % 2
    stop = scaled.upto(known, start + out.size, BLOCK)
    codes = read(scaled.CODES, start // 2, (stop + 1) // 2 - start // 2)[: (skipped + out.size + 1) // 2]
    if skipped or out.size % 2:
        out[:] = _PAIRS[codes].view("<f4")[skipped : skipped + out.size]
    else:
        np.take(_PAIRS, codes, out=out.view("<u8"), mode="clip")
    scaled.scale(out, known, start, BLOCK)


CODEC = Codec("Int4", _parts, _encoded, _decode, _index)
