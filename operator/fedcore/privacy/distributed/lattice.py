"""An update as whole steps, no longer than is promised, with a site's share of the noise, in the ring Z_2^32. Pure.

Kairouz, Liu and Steinke 2021, algorithm 1, without its rotation: the steps are so fine that 32 bits hold the sum of all sites with
each coordinate as long as the whole update may be. Randomly rounded updates that are too long are rounded again (conditional
randomized rounding), and the bound is on the integers themselves: no rounding of floats can lead over it.
Called by a site before it masks (contribution), and by the hub with the sum (decoded). Each site adds noise as if no more than
`honest` of the survivors did: more of them only add noise. The price is in concentrated.py.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedapi.wire.secagg import Terms
from fedapi.wire.tokens import hkdf
from fedcore.privacy import clipping
from fedcore.privacy.distributed import discrete
from fedcore.privacy.distributed.discrete import Integers

Floats = NDArray[np.floating]
_MOST = (1 << 31) - 1  # of a sum in the ring
_WRAPS = 2.0**-40  # how likely at most the noise leads any coordinate of a round's sum over it
_TRIES = 128  # of roundings, each too long with a probability below e^(-1/2)
_BLOCK = 1 << 15


@dataclass(frozen=True)
class Lattice:
    """The steps of one round.

    clip_norm: the length to which updates are clipped.
    items: of an update.
    sites: of the roster, whose noise the ring has to hold.
    honest: survivors of whose noise the promise is: threshold less those who may collude.
    noise_multiplier: standard deviation of the sum of their noise, as a multiple of the clip norm.
    """

    clip_norm: float
    items: int
    sites: int
    honest: int
    noise_multiplier: float

    def __post_init__(self) -> None:
        if not 1 <= self.honest <= self.sites:
            raise ValueError(f"honest must be from 1 to the {self.sites} sites, not {self.honest}")
        for name in ("clip_norm", "items", "noise_multiplier"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be above 0 and finite, not {getattr(self, name)}")
        if self.levels < 1:
            raise ValueError(
                f"noise_multiplier {self.noise_multiplier:g} is more noise than the ring holds: spend more epsilon"
            )

    @property
    def levels(self) -> int:
        """Steps of the clip norm: n of them, and of the noise of n sites what is likely, are within 2^31 - 1."""
        tails = math.sqrt(2 * math.log(2 * self.items / _WRAPS)) + 1
        return math.floor(_MOST / (self.sites + tails * self.noise_multiplier * math.sqrt(self.sites / self.honest)))

    @property
    def variance(self) -> int:
        """Of one site's noise, in steps."""
        return max(1, math.ceil((self.noise_multiplier * self.levels) ** 2 / self.honest))

    @property
    def most_squared(self) -> int:
        """The square of the longest integer update: l^2 + d/4 + sqrt(2 log(1/beta)) (l + sqrt(d)/2), with beta = e^(-1/2)."""
        return self.levels**2 + self.levels + math.ceil(self.items / 4 + math.sqrt(self.items) / 2)

    def contribution(self, update: Floats, key: bytes) -> NDArray[np.uint32]:
        """What a site masks; the same of the same key, which is of this attempt alone and which nobody else has."""
        found = self.rounded(update, hkdf(key, b"fedloom rounding"))
        found += discrete.gaussians(hkdf(key, b"fedloom share of the noise"), self.variance, self.items)
        return (found & 0xFFFFFFFF).astype(np.uint32)

    def rounded(self, update: Floats, key: bytes) -> Integers:
        """The clipped update in steps: whole ones as they are, others up or down so that they are right on average."""
        steps = self._clipped(update)
        for attempt in range(_TRIES):
            found = _at_random(steps, key, attempt)
            if int(np.dot(found, found)) <= self.most_squared:
                return found
        return np.trunc(steps).astype(np.int64)  # never longer than the steps are

    def decoded(self, total: NDArray[np.uint32]) -> NDArray[np.float64]:
        """The noisy sum of the survivors' clipped updates."""
        return total.view(np.int32).astype(np.float64) * (self.clip_norm / self.levels)

    def _clipped(self, update: Floats) -> NDArray[np.float64]:
        if update.size != self.items:
            raise ValueError(f"an update has {update.size} values, not the {self.items} of the lattice")
        squares = clipping.squared(update)
        if not math.isfinite(squares):
            raise ValueError("an update has a value that is NaN or infinite, or too large to be squared")
        factor = float(clipping.factors(np.array([[squares]]), self.clip_norm, "Flat")[0, 0])
        steps: NDArray[np.float64] = update * np.float64(factor * (self.levels / self.clip_norm))
        return steps


def of(terms: Terms, clip_norm: float, noise_multiplier: float) -> Lattice:
    """That of a round with these terms, at hub and sites alike: noise is of the fewest survivors, less those who may collude.

    ValueError for sums of groups: each has fewer shares of noise than that.
    """
    if terms.groups is not None:
        raise ValueError("noise of the sites is for one sum of all, the terms ask for sums of groups")
    return Lattice(
        clip_norm=clip_norm,
        items=terms.items,
        sites=len(terms.roster),
        honest=terms.threshold - terms.colluding,
        noise_multiplier=noise_multiplier,
    )


def _at_random(steps: NDArray[np.float64], key: bytes, attempt: int) -> Integers:
    found = np.empty(steps.size, np.int64)
    for at in range(0, steps.size, _BLOCK):
        block = steps[at : at + _BLOCK]
        words = np.frombuffer(discrete.stream(key, attempt, at // 2, 8 * block.size), "<u8")
        below = np.floor(block)
        up = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53 < block - below
        found[at : at + _BLOCK] = below + up
    return found
