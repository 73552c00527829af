"""TopK: of each tensor the values of largest size, and where they are (Aji and Heafield 2017); the rest is 0. Pure.

How many: fraction of the items, rounded up to a multiple of 4 and at least 4. Of equal sizes the earlier items are taken, so
that the choice is a function of the values. Indices are counted within pages of 65,536 items, so that two bytes hold one and
any part of a tensor is found without looking at the rest. A value is sent as a float32: an entry takes 6 bytes, and 1 % makes
an update 66 times smaller. What is not sent is meant to stay at the site as its residual.

In the file a tensor has `NAME/count`, U32 of (pages,), `NAME/index`, U16 of (entries,), and `NAME/value`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from fedapi.wire.compression import Encoding
from fedcore.compression.codec import Codec, Draw, Kind, MalformedEncodingError, Part, Pass, Read
from fedcore.tensors.arithmetic import Array

PAGE = 1 << 16
COUNT, INDEX, VALUE = 0, 1, 2  # parts
_SAMPLED = 64  # one in so many items is looked at to guess from which size on values are sent
_STEP = 4  # entries are a multiple of it: parts stay aligned


def entries(items: int, fraction: float) -> int:
    """How many values of a tensor are sent."""
    wanted = math.ceil(fraction * items - 1e-9)  # 0.01 * 700 is a little more than 7
    return min(items, max(_STEP, -(-wanted // _STEP) * _STEP))


@dataclass(frozen=True)
class Index:
    """Where each page's entries begin, and how many items there are."""

    begins: Array
    items: int


def _parts(kind: Kind, encoding: Encoding) -> tuple[Part, ...]:
    count = entries(kind.items, encoding.fraction or 0.0)
    return (
        Part("/count", "U32", (-(-kind.items // PAGE),)),
        Part("/index", "U16", (count,)),
        Part("/value", "F32", (count,)),
    )


def _encoded(values: Pass, kind: Kind, encoding: Encoding, _draw: Draw) -> Iterator[Array]:
    places, chosen = largest(values, kind.items, entries(kind.items, encoding.fraction or 0.0))
    pages = -(-kind.items // PAGE)
    yield np.bincount(places // PAGE, minlength=pages).astype("<u4")
    yield (places % PAGE).astype("<u2")
    yield chosen


def largest(values: Pass, items: int, count: int) -> tuple[Array, Array]:
    """Places, in their order, and values of the `count` items of largest size. Memory is that of a few times as many."""
    found = _Found(count, _guess(values, items, count))
    if not found.chosen(values):
        found = _Found(count, -1.0)  # the guess was too high
        found.chosen(values)
    return found.places, found.values


def _guess(values: Pass, items: int, count: int) -> float:
    """A size that a few more than `count` items most likely have at least, from a sample."""
    taken = []
    generator = np.random.SFC64(items)
    for block in values():
        spots = generator.random_raw(-(-block.size // _SAMPLED)) % np.uint64(block.size)
        taken.append(np.abs(block[spots.astype(np.intp)]))
    sample = np.concatenate(taken) if taken else np.zeros(0, np.float32)
    mean = count * sample.size / items if items else 0.0
    rank = math.ceil(mean + 4 * math.sqrt(mean) + 4)
    if rank >= sample.size:
        return -1.0
    return float(np.partition(sample, sample.size - rank)[sample.size - rank])


@dataclass
class _Found:
    """The largest items so far, once a pass has come so far."""

    count: int
    least: float  # a size: smaller items are none of the largest
    places: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    values: Array = field(default_factory=lambda: np.zeros(0, np.float32))
    _more: list[tuple[Array, Array]] = field(default_factory=list)
    _held: int = 0
    _full: bool = False  # `count` items of size `least` or more are held: of that size itself no more are wanted

    def chosen(self, values: Pass) -> bool:
        """Whether as many were found, in a pass."""
        at = 0
        for block in values():
            sizes = np.abs(block)
            hits = np.flatnonzero(sizes > self.least if self._full else sizes >= self.least)
            self._more.append((hits + at, block[hits]))
            self._held += hits.size
            at += block.size
            if self._held > 4 * self.count + PAGE:
                self._reduce()
        self._reduce()
        return self.places.size == self.count

    def _reduce(self) -> None:
        """Leaves no more than are wanted: of equal sizes the earlier ones."""
        places = np.concatenate([self.places, *(places for places, _ in self._more)])
        values = np.concatenate([self.values, *(values for _, values in self._more)])
        self._more.clear()
        if places.size > self.count:
            sizes = np.abs(values)
            edge = np.partition(sizes, sizes.size - self.count)[sizes.size - self.count]
            kept = sizes > edge
            kept[np.flatnonzero(sizes == edge)[: self.count - int(kept.sum())]] = True
            places, values, self.least, self._full = places[kept], values[kept], float(edge), True
        self.places, self.values, self._held = places, values, places.size


def _index(read: Read, kind: Kind, encoding: Encoding) -> Index:
    pages = -(-kind.items // PAGE)
    counts = read(COUNT, 0, pages).astype(np.int64)
    if counts.size and counts.max() > PAGE:
        raise MalformedEncodingError(f"a page of {PAGE} items has {int(counts.max())} entries")
    begins = np.concatenate([[0], np.cumsum(counts)])
    if begins[-1] != (total := entries(kind.items, encoding.fraction or 0.0)):
        raise MalformedEncodingError(f"its pages have {int(begins[-1])} entries, there are {total}")
    return Index(begins, kind.items)


def _decode(read: Read, known: Index, start: int, out: Array) -> None:
    first, last = start // PAGE, -(-(start + out.size) // PAGE)
    begins = known.begins[first : last + 1]
    begin, count = int(begins[0]), int(begins[-1] - begins[0])
    pages = np.repeat(np.arange(first, last) * PAGE, np.diff(begins))
    places = pages + read(INDEX, begin, count)
    if (np.diff(places) <= 0).any():
        raise MalformedEncodingError("its indices are not in order, or one is there twice")
    if count and places[-1] >= known.items:
        raise MalformedEncodingError(f"index {int(places[-1])} is none of its {known.items} items")
    low, high = np.searchsorted(places, (start, start + out.size))
    out[:] = 0
    out[places[low:high] - start] = read(VALUE, begin + int(low), int(high - low))


CODEC = Codec("TopK", _parts, _encoded, _decode, _index, once=False)  # a page may be one of two parts
