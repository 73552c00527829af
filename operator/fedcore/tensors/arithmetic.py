"""Block arithmetic of a fold: base + sum(weight * update), term after term. Pure numpy; called by the engine's fold.

Float32 multiply and add are each correctly rounded (IEEE 754) and run element by element in a fixed order, so the bits
depend neither on block size nor on threads or CPU kernel; no BLAS and no fused multiply-add is used.
Integers are averaged exactly and rounded once, half to even (integers.py); BOOL keeps the base's value.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcore.tensors import integers

Array = NDArray[Any]
_STORED: dict[str, str] = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "<i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "<u1",
    "BOOL": "<u1",
}  # fmt: skip
_NARROW = ("F16", "BF16")
_FLOAT = ("F64", "F32", *_NARROW)


@dataclass(frozen=True)
class Accumulator:
    """Two reusable blocks: the sum of weighted updates, and one product."""

    total: Array
    product: Array

    @staticmethod
    def of(dtype: str, items: int) -> "Accumulator":
        """Blocks for so many items of a tensor type."""
        working = np.float32 if dtype in ("F32", *_NARROW) else np.float64
        return Accumulator(np.zeros(items, working), np.empty(items, working))


def stored(dtype: str, buffer: Any) -> Array:
    """The raw items of a tensor type in a buffer, without a copy."""
    return np.frombuffer(buffer, dtype=_STORED[dtype])


def folded(dtype: str, base: Array, terms: Iterable[tuple[Fraction, Array]], accumulator: Accumulator) -> Array:
    """The new items: base + sum(weight * update). Arrays as `stored` gives them; the result is of the same type."""
    if dtype == "BOOL":
        for _ in terms:
            pass
        return base
    if dtype not in _FLOAT:
        return integers.averaged(base, terms)
    total, product = accumulator.total[: base.size], accumulator.product[: base.size]
    total.fill(0)
    for weight, update in terms:
        np.multiply(_working(dtype, update, product), product.dtype.type(float(weight)), out=product)
        np.add(total, product, out=total)
    if dtype in ("F32", "F64"):
        return np.add(base, total, out=total)
    return _narrowed(dtype, np.add(_working(dtype, base, product), total, out=total))


def finite(dtype: str, items: Array) -> bool:
    """Whether no item is NaN or infinite."""
    if dtype not in _FLOAT:
        return True
    if dtype == "BF16":
        return not bool(np.any((items & 0x7F80) == 0x7F80))
    return bool(np.isfinite(items).all())


def as_finite(dtype: str, items: Array, base: Array) -> bool:
    """Whether no item is NaN or infinite but those that were the same in the base: a mask of -inf may stay one."""
    if finite(dtype, items):
        return True
    unlike = items.view(np.uint8).reshape(items.size, -1) != base.view(np.uint8).reshape(items.size, -1)
    return finite(dtype, items[unlike.any(axis=1)])


def _working(dtype: str, items: Array, out: Array) -> Array:
    """Items in the type that is computed in; F32 and F64 as they are."""
    if dtype in ("F32", "F64"):
        return items
    if dtype == "BF16":
        bits = out.view(np.uint32)
        np.left_shift(items, 16, out=bits, dtype=np.uint32)
        return out
    out[...] = items
    return out


def _narrowed(dtype: str, items: Array) -> Array:
    """Float32 to float16 or bfloat16, half to even."""
    if dtype == "F16":
        return items.astype("<f2")
    bits = items.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
