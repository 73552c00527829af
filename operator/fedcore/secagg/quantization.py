"""Floats as integers of the ring Z_2^32, so that the sum of all sites' fits it exactly. Pure.

With n sites and limit c, a value x in [-c, c] becomes the integer next to x * levels / c, levels = floor((2^31 - 1) / n): the
sum of n such integers is between -(2^31 - 1) and 2^31 - 1, never wraps, and is exact. |x - decoded| <= c / levels / 2 at each site.
"""

from dataclasses import dataclass

import numpy as np

from fedcore.secagg.errors import OutOfRangeError
from fedcore.tensors.arithmetic import Array

_MOST = (1 << 31) - 1
_BLOCK = 1 << 15  # items at once: their float64 stay in the processor's cache


@dataclass(frozen=True)
class Scale:
    """How the values of an update are kept in the ring.

    limit: the largest size of a value.
    sites: of the roster, whoever of them stays.
    """

    limit: float
    sites: int

    @property
    def levels(self) -> int:
        """The integer of the limit."""
        return _MOST // self.sites

    def encoded(self, values: Array, out: Array) -> None:
        """Fills uint32 `out`. OutOfRangeError when a value is NaN or beyond the limit."""
        if clipped := self.clipped(values, out):
            raise OutOfRangeError(
                f"{clipped} of {values.size} values are larger than the limit of {self.limit:g}: clip the update or raise the limit"
            )

    def clipped(self, values: Array, out: Array) -> int:
        """The same with values beyond the limit at the limit; says how many those are. OutOfRangeError for NaN."""
        count, factor = 0, self.levels / self.limit
        for at in range(0, values.size, _BLOCK):
            block = values[at : at + _BLOCK].astype(np.float64)
            if np.isnan(block).any():
                raise OutOfRangeError("a value is NaN")
            count += int(np.count_nonzero(np.abs(block) > self.limit))
            np.clip(block, -self.limit, self.limit, out=block)
            block *= factor
            whole = np.clip(np.rint(block), -self.levels, self.levels)
            out[at : at + _BLOCK] = whole.astype(np.int32).view(np.uint32)
        return count

    def decoded(self, total: Array) -> Array:
        """The sum as float64: divide by weights or sites to have a mean."""
        return total.view(np.int32).astype(np.float64) * (self.limit / self.levels)
