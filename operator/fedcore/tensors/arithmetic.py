"""Block arithmetic of floats: stored items to working blocks and back, and the weighted sum. Pure.

Float32 multiply and add are each correctly rounded (IEEE 754) and run element by element in a fixed order, by numpy or
by the compiled loops of kernels.py, so the bits depend neither on block size nor on threads or CPU kernel; no BLAS and no
fused multiply-add is used.
Called by fedcore.strategies; integers have rules of their own (integers.py).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcore.tensors import kernels

Array = NDArray[Any]
Terms = Iterable[tuple[Fraction, Array]]  # weight and block, each valid until the next is asked for
_STORED: dict[str, str] = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "<i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "<u1",
    "BOOL": "<u1",
}  # fmt: skip
_NARROW = ("F16", "BF16")
FLOATS = ("F64", "F32", *_NARROW)


@dataclass(frozen=True)
class Accumulator:
    """Two reusable blocks: the sum of weighted updates, and one product. And a block per update, for rules that need all."""

    total: Array
    product: Array
    rows: dict[tuple[str, int], Array] = field(default_factory=dict)

    @staticmethod
    def of(dtype: str, items: int) -> "Accumulator":
        """Blocks for so many items of a tensor type."""
        kind = _STORED[working_type(dtype)]
        return Accumulator(np.zeros(items, kind), np.empty(items, kind))

    def first(self, items: int) -> "Accumulator":
        """The same for a block of fewer items."""
        return Accumulator(self.total[:items], self.product[:items], self.rows)

    def row(self, use: str, index: int) -> Array:
        """A block of the same length, for one update and one use. It is made once, and kept from block to block of a tensor."""
        found = self.rows.get((use, index))
        if found is None or found.size < self.total.size:
            found = self.rows[use, index] = np.empty_like(self.total)
        return found[: self.total.size]


@dataclass(frozen=True)
class Summable:
    """Terms that know a shorter way to their sum than one after the other in memory. The bits are the same."""

    terms: Terms
    sum_to: Callable[[Array], None]  # makes a total of float32 the sum of weight * block of all, and leaves none

    def __iter__(self) -> Iterator[tuple[Fraction, Array]]:
        return iter(self.terms)


def working_type(dtype: str) -> str:
    """The tensor type that a tensor type is computed in."""
    return "F32" if dtype in ("F32", *_NARROW) else "F64"


def stored(dtype: str, buffer: Any) -> Array:
    """The raw items of a tensor type in a buffer, without a copy."""
    return np.frombuffer(buffer, dtype=_STORED[dtype])


def decoded(dtype: str, items: Array, out: Array) -> Array:
    """Stored items in the type that is computed in: narrow ones in `out`, F32 and F64 as they are."""
    if dtype in ("F32", "F64"):
        return items
    if dtype == "BF16":
        bits = out.view(np.uint32)
        np.left_shift(items, 16, out=bits, dtype=np.uint32)
        return out
    out[...] = items
    return out


def encoded(dtype: str, items: Array) -> Array:
    """Working items as they are stored: float32 to float16 or bfloat16, half to even."""
    if dtype in ("F32", "F64"):
        return items
    if dtype == "F16":
        return items.astype("<f2")
    bits = items.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def weighted_sum(terms: Terms, accumulator: Accumulator) -> Array:
    """sum(weight * block), term after term, in the accumulator's total."""
    total, product = accumulator.total, accumulator.product
    if isinstance(terms, Summable) and total.dtype == np.dtype("f4"):
        terms.sum_to(total)
        return total
    total.fill(0)
    for weight, block in terms:
        kernels.add_scaled(total, block, float(weight), product)
    return total


def finite(dtype: str, items: Array) -> bool:
    """Whether no item is NaN or infinite."""
    if dtype not in FLOATS:
        return True
    if dtype == "BF16":
        return not bool(np.any((items & 0x7F80) == 0x7F80))
    if dtype == "F32":
        return kernels.finite_f32(items)
    return bool(np.isfinite(items).all())


def as_finite(dtype: str, items: Array, base: Array) -> bool:
    """Whether no item is NaN or infinite but those that were the same in the base: a mask of -inf may stay one."""
    if finite(dtype, items):
        return True
    unlike = items.view(np.uint8).reshape(items.size, -1) != base.view(np.uint8).reshape(items.size, -1)
    return finite(dtype, items[unlike.any(axis=1)])
