"""Secrets from the shares that sites opened, each held against what its owner advertised. Pure; called by hub.py.

A wrong share gives a wrong secret, which is found out: the shares are then tried without some, so that one liar among more
holders than are needed spoils nothing. Where no choice fits the attempt fails and names the site whose secret it is.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

from fedapi.wire.secagg import Opening, UnmaskRequest
from fedcore.secagg import keys, shamir
from fedcore.secagg.agreement import View
from fedcore.secagg.errors import AttemptFailedError, RefusedError
from fedcore.secagg.graph import Graph


def check(ring: Graph, asked: UnmaskRequest, said: Opening) -> None:
    """An opening has shares of sites that were asked for and whose holder the site is, of one kind each. RefusedError if not."""
    held = set(ring.holders(said.site))  # neighbours are so both ways
    if not (set(said.seeds) <= set(asked.seeds_of) & held and set(said.mask_keys) <= set(asked.mask_keys_of) & held):
        raise RefusedError(f"site {said.site!r} opens shares that it was not asked for")
    if any(int.from_bytes(share) >= shamir.PRIME for share in (*said.seeds.values(), *said.mask_keys.values())):
        raise RefusedError(f"site {said.site!r} opens bytes that are no shares")


def seeds(seen: View, asked: Iterable[str], openings: Mapping[str, Opening]) -> dict[str, bytes]:
    """The self-mask's seed of each site."""

    def fits(name: str, seed: bytes) -> bool:
        return keys.commitment(seed, seen.bond.context, name) == seen.said[name].seed_commitment

    opened = {name: each.seeds for name, each in openings.items()}
    return {name: _secret(seen.ring(name), name, opened, fits) for name in asked}


def mask_keys(seen: View, asked: Iterable[str], openings: Mapping[str, Opening]) -> dict[str, bytes]:
    """The secret mask key of each site."""

    def fits(name: str, secret: bytes) -> bool:
        return keys.public(secret) == seen.said[name].mask_key

    opened = {name: each.mask_keys for name, each in openings.items()}
    return {name: _secret(seen.ring(name), name, opened, fits) for name in asked}


def _secret(
    ring: Graph, name: str, opened: Mapping[str, Mapping[str, bytes]], fits: Callable[[str, bytes], bool]
) -> bytes:
    places = {holder: place for place, holder in enumerate(ring.holders(name), 1)}
    held = {place: opened[holder][name] for holder, place in places.items() if name in opened.get(holder, {})}
    if len(held) < ring.threshold:
        raise AttemptFailedError(
            f"{len(held)} shares of site {name!r} are below the {ring.threshold} that its secret takes"
        )
    for choice in _choices(held, ring.threshold):
        if (found := _tried(choice)) is not None and fits(name, found):
            return found
    raise AttemptFailedError(f"the shares of site {name!r} do not give the secret that it advertised")


def _choices(held: Mapping[int, bytes], threshold: int) -> Iterator[dict[int, bytes]]:
    """So many shares in a row, from each on."""
    row = list(held.items())
    for at in range(len(row)):
        yield dict((row + row)[at : at + threshold])


def _tried(choice: Mapping[int, bytes]) -> bytes | None:
    try:
        return shamir.secret(choice)
    except shamir.MalformedShareError:
        return None
