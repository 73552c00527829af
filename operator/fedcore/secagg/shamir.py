"""Shamir's secret sharing (1979) of 32-byte secrets: any `threshold` shares give the secret, fewer say nothing of it. Pure.

Over the integers modulo 2^256 + 297, the smallest prime that holds every such secret; a share is one of them in 33 bytes.
Coefficients come from whoever calls. Python's integers take time that depends on their values: it is not constant-time.
"""

from collections.abc import Mapping, Sequence

PRIME = (1 << 256) + 297
SECRET_BYTES, SHARE_BYTES = 32, 33
WIDE_BYTES = 48  # of entropy for a coefficient: reduced modulo the prime it is uniform to 2^-127


class MalformedShareError(ValueError):
    """Bytes that are no share, or shares that are of no 32-byte secret."""


def shares(secret: bytes, places: Sequence[int], threshold: int, entropy: bytes) -> list[bytes]:
    """The share at each place (from 1 on, each once). `entropy`: WIDE_BYTES for every coefficient, threshold - 1 of them."""
    if len(secret) != SECRET_BYTES or len(entropy) != WIDE_BYTES * (threshold - 1):
        raise ValueError("a secret of 32 bytes and entropy for every coefficient are needed")
    if not 1 <= threshold <= len(places) or len(set(places)) < len(places) or min(places) < 1:
        raise ValueError(f"no {threshold} of {len(places)} places, from 1 on and each once")
    wide = [entropy[at : at + WIDE_BYTES] for at in range(0, len(entropy), WIDE_BYTES)]
    coefficients = [int.from_bytes(secret), *(int.from_bytes(each) % PRIME for each in wide)]
    return [_at(coefficients, place).to_bytes(SHARE_BYTES) for place in places]


def _at(coefficients: Sequence[int], place: int) -> int:
    value = 0
    for coefficient in reversed(coefficients):
        value = (value * place + coefficient) % PRIME
    return value


def secret(held: Mapping[int, bytes]) -> bytes:
    """The secret of `threshold` shares, by place: the polynomial at 0. Of fewer, or of wrong ones, it is something else."""
    total = 0
    for place, share in held.items():
        above = below = 1
        for other in held:
            if other != place:
                above = above * other % PRIME
                below = below * (other - place) % PRIME
        total += _element(share) * above * pow(below, -1, PRIME)
    total %= PRIME
    if total >> (8 * SECRET_BYTES):
        raise MalformedShareError("the shares are of no 32-byte secret")
    return total.to_bytes(SECRET_BYTES)


def _element(share: bytes) -> int:
    value = int.from_bytes(share)
    if len(share) != SHARE_BYTES or value >= PRIME:
        raise MalformedShareError("a share is 33 bytes below the prime")
    return value
