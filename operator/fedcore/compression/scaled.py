"""Floats as small integers with a scale per block, by stochastic rounding: what Int8 and Int4 share. Pure.

Of a block with the largest size m, scale = m / levels, rounded up, so that every value is between two integers from -levels
to levels and none is cut off; it becomes one of the two, the nearer one the likelier (Gupta et al. 2015; Alistarh et al. 2017):
|value - decoded| <= scale, and the mean of what is decoded is the value, to 2^-17 scale: a draw has 16 bits, which is what
float32 resolves at 127. A multiple of the scale stays what it is. Where m underflows the scale is the smallest float32, of a
block of zeros it is 0. Decoded is integer * scale, one float32 multiply.

In the file a tensor has `NAME/scale`, F32 of (blocks,), and behind it NAME: whole blocks, the last filled up with zeros.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fedcore.compression.codec import PASS_ITEMS, Draw, EncodingError, Kind, MalformedEncodingError, Pass, Read
from fedcore.tensors.arithmetic import Array

SCALE, CODES = 0, 1  # parts


def blocks_of(kind: Kind, block: int) -> int:
    """How many blocks a tensor has."""
    return -(-kind.items // block)


def scales(values: Pass, kind: Kind, block: int, levels: int) -> Array:
    """Of all blocks, in one pass."""
    peaks = np.zeros(blocks_of(kind, block), "<f4")
    sizes = np.empty(PASS_ITEMS, np.float32)
    at = 0
    for part in values():
        padded = _whole(part, block, sizes)
        np.abs(padded, out=padded)
        count = padded.size // block
        padded.reshape(count, block).max(axis=1, out=peaks[at : at + count])
        at += count
    found = peaks / np.float32(levels)
    short = found.astype(np.float64) * levels < peaks
    found[short] = np.nextafter(found[short], np.float32(np.inf))
    with np.errstate(over="ignore"):
        if not np.isfinite(found * np.float32(levels + 1)).all():
            most = float(np.finfo(np.float32).max) * levels / (levels + 1)
            raise EncodingError(
                f"a value of size {float(peaks.max()):g} is over {most:.3g}, the most that this codec holds"
            )
    return found


def integers(values: Pass, found: Array, block: int, draw: Draw) -> Iterator[Array]:
    """The codes as an int8, in blocks of whole blocks, valid until the next."""
    divisors = np.where(found == 0, np.float32(1), found)
    quotients, chances = np.empty(PASS_ITEMS, np.float32), np.empty(PASS_ITEMS, np.float32)
    codes = np.empty(PASS_ITEMS, np.int8)
    at = 0
    for part in values():
        padded = _whole(part, block, quotients)
        size, count = padded.size, padded.size // block
        rows = padded.reshape(count, block)
        np.divide(rows, divisors[at : at + count, None], out=rows)
        chance = chances[:size]
        np.multiply(draw(size), np.float32(2**-16), out=chance)
        chance += np.float32(2**-17)
        padded += chance
        np.floor(padded, out=padded)
        np.copyto(codes[:size], padded, casting="unsafe")
        yield codes[:size]
        at += count


@dataclass(frozen=True)
class Scales:
    """All of a tensor, and how many items that has."""

    values: Array
    items: int


def read_scales(read: Read, kind: Kind, block: int, levels: int) -> Scales:
    """MalformedEncodingError where one is none, or makes no number of some code."""
    found = np.array(read(SCALE, 0, blocks_of(kind, block)))
    with np.errstate(over="ignore", invalid="ignore"):
        if not np.isfinite(found * np.float32(levels + 1)).all():
            raise MalformedEncodingError("a scale is NaN or infinite, or makes values that are")
    if (found < 0).any():
        raise MalformedEncodingError("a scale is negative")
    return Scales(found, kind.items)


def upto(known: Scales, stop: int, block: int) -> int:
    """Up to where codes are read for items up to `stop`: what fills the last block up goes with it, so that all is read in order."""
    return -(-stop // block) * block if stop == known.items else stop


def scale(out: Array, known: Scales, start: int, block: int) -> None:
    """Multiplies codes, from that item of the tensor on, by the scales of their blocks, in their place."""
    found, head = known.values, min(-start % block, out.size)
    first = start // block
    if head:
        out[:head] *= found[first]
        first += 1
    count = (out.size - head) // block
    rows = out[head : head + count * block].reshape(count, block)
    np.multiply(rows, found[first : first + count, None], out=rows)
    if head + rows.size < out.size:
        out[head + rows.size :] *= found[first + count]


def _whole(part: Array, block: int, room: Array) -> Array:
    """The part in `room`, filled up to whole blocks with zeros."""
    size = -(-part.size // block) * block
    room[: part.size] = part
    room[part.size : size] = 0
    return room[:size]
