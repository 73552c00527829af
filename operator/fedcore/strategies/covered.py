"""What a mean becomes of items that some sites do not have, because their sub-models are smaller. Pure.

Overlap (HeteroFL: Diao et al. 2021, arXiv:2010.01264, algorithm 1): each item is averaged over the sites that have it, by their
weights. ZeroPadding (what FLoRA, Wang et al. 2024, arXiv:2409.05976, describes of LoRA adapters of unlike ranks): a site counts
everywhere, with the value 0 where it has none. An item that no site of the round has stays what it was, and so does what the
strategy remembers of it.

A block of an update has 0 where its sub-model does not reach, so the weighted sum is already that over the sites that have an
item. Made by coverage.py, called by folding.py.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from fedcore.tensors.arithmetic import Array


@dataclass(frozen=True)
class Covered:
    """Of a block of n items: in which of a few ways sites have each, and what their weights are in each."""

    ways: Array  # (n,) unsigned: of each item an index into what follows
    shares: tuple[Fraction, ...]  # weights of the sites that have it, together
    total: Fraction  # of all sites
    padded: bool

    def averaged(self, combined: Array, old: Array) -> Array:
        """The mean update (n,), from the weighted sum (n,), which it replaces, and the base's items (n,). Each product and sum is rounded by itself."""
        if self.padded:
            lacking = self._numbers(combined, [self.total - share for share in self.shares])
            at_zero = np.where(np.isfinite(old), old, 0)
            return np.subtract(combined, np.multiply(lacking, at_zero, out=lacking), out=combined)
        factors = [self.total / share if share else Fraction(0) for share in self.shares]
        return np.multiply(combined, self._numbers(combined, factors), out=combined)

    def kept(self, new: Array, old: Array) -> Array:
        """The new items (n,), or rows of what is remembered of them (n, numbers); the old ones where no site has an item."""
        had = np.array([share > 0 for share in self.shares])
        if had.all():
            return new
        reached = had[self.ways]
        return np.where(reached if new.ndim == 1 else reached[:, None], new, old)

    def _numbers(self, like: Array, of: Iterable[Fraction]) -> Array:
        return np.array([float(number) for number in of], like.dtype)[self.ways]
