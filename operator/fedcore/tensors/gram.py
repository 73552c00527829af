"""Inner products of the updates of a round, the same bits on every machine: what robust rules measure distances by. Pure.

Called by the engine's scoring pass, block after block. BLAS may sum in any order, with or without fused operations: in each
block of columns every row is scaled by a power of two and rounded to an integer of at most 20 bits, sign included, so that
the sums of products are integers below 2^53, which float64 holds exactly. Blocks are added one after the other.
What rounding costs is in ADR 40: distances are exact to about 1e-5 of the norms.
"""

import numpy as np

from fedcore.tensors.arithmetic import Array

COLUMNS = 8192  # 2^13 products of 2 * 19 bits are below 2^52; part of what decides the bits
_BITS = 19
_LARGEST = 2.0**480  # of float64 updates: what is further off is as far off, and squares stay finite
_SMALLEST = -480  # exponent; what is smaller counts as 0, and scales stay finite


def added(gram: Array, rows: Array) -> None:
    """Adds to a Gram matrix, n x n float64, the inner products of a block: n rows of float32 or float64."""
    for start in range(0, rows.shape[1], COLUMNS):
        gram += _exact(rows[:, start : start + COLUMNS].astype(np.float64))


def _exact(rows: Array) -> Array:
    """The inner products of rounded rows, which are overwritten."""
    np.clip(rows, -_LARGEST, _LARGEST, out=rows)
    _, exponents = np.frexp(np.maximum(rows.max(axis=1), -rows.min(axis=1)))
    exponents = np.maximum(exponents, _SMALLEST)
    rows *= np.ldexp(1.0, _BITS - exponents)[:, None]
    np.rint(rows, out=rows)
    scale = np.ldexp(1.0, exponents - _BITS)
    products: Array = rows @ rows.T
    products *= scale[:, None]
    products *= scale
    return products
