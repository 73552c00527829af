"""Fingerprints: whether bytes are those that were seen before, at the speed of memory. Pure; computed by kernels.py.

Two sums modulo 2^64 over the 32-bit words of an object, each word times a secret factor that its place decides: an
almost universal hash (Carter and Wegman 1979; Lemire and Kaser 2014, multilinear). Sums do not mind order, so
that parts may be read in any order, by any number of threads, and split anywhere. Whoever does not know the key changes
an object unseen with a chance below 2^-50 (ADR 42 and 53); so a fingerprint is never shown, and says nothing in another process.
"""

import numpy as np

Fingerprint = tuple[int, int]
_INNER_BYTES = 2 * 4 * 256
KEY_BYTES = _INNER_BYTES + 2 * 8  # as `struct key` of kernels.c
_MODULUS = 1 << 64


def key(random: bytes) -> bytes:
    """A secret of one process, from as many random bytes. Factors are odd: then a change within one word is always seen."""
    inner = np.frombuffer(random[:_INNER_BYTES], np.uint32) | np.uint32(1)
    return inner.tobytes() + random[_INNER_BYTES:KEY_BYTES]


def total(first: int, second: int) -> Fingerprint:
    """Of an object, from the sums of what its parts add."""
    return first % _MODULUS, second % _MODULUS
