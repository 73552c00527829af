"""Who masks with whom and who holds whose shares: everybody, or the neighbours in a ring of sites. Pure.

Up to COMPLETE_SITES everybody is everybody's neighbour. Above, sites stand in a ring, in an order by SHA-256 that the advertised
keys decide, and neighbours are the `reach` sites before and after one (a Harary graph of degree k = 2 reach, as in Bell et al.
2020, section 3). Removing sites parts such a graph only where two runs of `reach` neighbours are gone altogether. So the one rule
is: **every window of `reach` places keeps more survivors than `colluding` ones can be in it** (`windows_hold`), by which the
honest survivors stay connected whichever sites the hub loses, and every site has more than 2 w surviving neighbours, where a
secret is shared with threshold 2 w + 1: more than colluding neighbours have. Bell et al. bound the same events for
losses by chance (hypergeometric tails, their section 3.2); here the hub may choose the losses once it knows the ring.
"""

import hashlib
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cache
from math import comb

COMPLETE_SITES = 32
SECURITY_BITS = (
    80  # 40 for the ring's luck, 40 for a hub that tries as many sets of keys of colluding sites until one suits
)
LOSS_BITS = 20  # an attempt with as many losses as the threshold allows, by chance, fails by its ring in one of 2^20


@dataclass(frozen=True)
class Graph:
    """The sites of an attempt in their ring.

    reach: neighbours on each side; all others where it is 0.
    crowded: the most colluding sites of a window.
    threshold: shares that give a secret.
    least: sites that must stay to the end.
    """

    ring: tuple[str, ...]
    reach: int
    crowded: int
    threshold: int
    least: int

    def neighbours(self, site: str) -> tuple[str, ...]:
        """Of a site, by name, without itself."""
        if not self.reach:
            return tuple(sorted(set(self.ring) - {site}))
        at, size = self.ring.index(site), len(self.ring)
        steps = (step for step in range(-self.reach, self.reach + 1) if step)
        return tuple(sorted(self.ring[(at + step) % size] for step in steps))

    def holders(self, site: str) -> tuple[str, ...]:
        """Who has shares of a site's secrets: its neighbours and itself. A holder's place is its place in this, from 1 on."""
        return tuple(sorted((*self.neighbours(site), site)))

    def windows_hold(self, present: AbstractSet[str]) -> bool:
        """Whether each window of the ring keeps enough of those present."""
        size = len(self.ring)
        there = [name in present for name in self.ring]
        windows = (sum(there[(at + step) % size] for step in range(self.reach)) for at in range(size))
        return not self.reach or all(count > self.crowded for count in windows)

    def holds(self, present: AbstractSet[str]) -> bool:
        """Whether those present are enough, and are so in each window."""
        return sum(name in present for name in self.ring) >= self.least and self.windows_hold(present)


def graph(seed: bytes, sites: Sequence[str], threshold: int, colluding: int) -> Graph:
    """Of an attempt whose participants are `sites`, of whom `threshold` must stay."""
    ring = tuple(sorted(sites, key=lambda name: hashlib.sha256(seed + name.encode()).digest()))
    found = None if len(ring) <= COMPLETE_SITES else degree(len(ring), colluding, len(ring) - threshold)
    if found is None:
        return Graph(ring, 0, 0, threshold, threshold)
    reach, crowded = found
    return Graph(ring, reach, crowded, 2 * crowded + 1, threshold)


@cache
def degree(sites: int, colluding: int, lost: int) -> tuple[int, int] | None:
    """The smallest reach, and the most colluding ones of a window, that n places keep; None where the graph must be complete.

    n P(more than w of a window collude) <= 2^-SECURITY_BITS and n P(at most w of a window stay) <= 2^-LOSS_BITS: a window is a
    uniform set of `reach` sites, so both are tails of a hypergeometric distribution. Exact: integers alone.
    """
    for reach in range(1, (sites - 1) // 2 + 1):
        crowded = next(w for w in range(reach + 1) if _rare(sites, colluding, reach, w + 1, SECURITY_BITS))
        if crowded < reach and _rare(sites, lost, reach, reach - crowded, LOSS_BITS):
            return reach, crowded
    return None


def _rare(sites: int, marked: int, drawn: int, least: int, bits: int) -> bool:
    ways = sum(comb(marked, k) * comb(sites - marked, drawn - k) for k in range(least, min(marked, drawn) + 1))
    return (sites * ways) << bits <= comb(sites, drawn)
