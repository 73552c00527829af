"""Discrete Gaussian numbers of a key, exactly: P(x) is proportional to exp(-x^2 / (2 variance)), for whole x. Pure.

Canonne, Kamath and Steinke 2020, algorithm 3: a discrete Laplace number is accepted with probability exp(-(|y| - v/t)^2 / (2 v)).
One block of AES-256 in counter mode is one candidate: |y| = floor(-t ln u) of its first 64 bits, its sign and whether it is accepted
of the others. The bits begin infinitely long numbers. Floats decide where they are far enough from the border for any error that
they may have; else exact.py does, with as many bits as it takes. So no sample is off, and the numbers depend on no processor.
Called by lattice.py. The time shows how many candidates were refused, of all numbers together; the key is as secret as the update.
"""

from math import isqrt

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from fedcore.privacy.distributed import exact
from fedcore.privacy.distributed.exact import Uniform

Integers = NDArray[np.int64]
Words = NDArray[np.uint64]
MOST_VARIANCE = 1 << 60  # t is at most 2^30: the borders of |y| are far wider than a float's error
_CANDIDATES = 1 << 15  # at once: their float64 stay in the processor's cache
_LOG_ERROR = (
    2.0**-44
)  # of -ln u, u of 2^-14 or more; it is below 2^-46 where logarithms are right to 4 units in the last place
_EXP_ERROR = 2.0**-44  # of the probability of being accepted; it is below 2^-48
_FEW = 1 << 50  # words below: the bits that follow say too much of ln u


def gaussians(key: bytes, variance: int, count: int) -> Integers:
    """So many numbers, always the same of a key of 32 bytes; fewer of them are the first of more."""
    if not 1 <= variance < MOST_VARIANCE:
        raise ValueError(f"a discrete Gaussian needs a variance from 1 to 2^60, not {variance}")
    found, at, first = np.empty(count, np.int64), 0, 0
    while at < count:
        candidates = min(_CANDIDATES, 2 * (count - at) + 8)
        taken = _accepted(key, variance, first, candidates)[: count - at]
        found[at : at + taken.size] = taken
        at, first = at + taken.size, first + candidates
    return found


def scale(variance: int) -> int:
    """The t of the Laplace numbers: the power of two next to the standard deviation, by their ratio."""
    below = 1 << (isqrt(variance).bit_length() - 1)
    return below if 2 * below * below >= variance else 2 * below


def _accepted(key: bytes, variance: int, first: int, candidates: int) -> Integers:
    words = np.frombuffer(stream(key, 0, first, 16 * candidates), "<u8").reshape(-1, 2)
    t = scale(variance)
    sizes = _sizes(key, t, first, words[:, 0])
    negative = (words[:, 1] & np.uint64(1)).astype(bool)
    kept = _kept(key, variance, first, words[:, 1] >> np.uint64(1), sizes)
    kept &= (sizes > 0) | ~negative  # zero has one sign
    found: Integers = np.where(negative, -sizes, sizes)[kept]
    return found


def _sizes(key: bytes, t: int, first: int, words: Words) -> Integers:
    """floor(-t ln u): x or more has the probability e^(-x / t)."""
    values = -t * np.log((words.astype(np.float64) + 0.5) * 2.0**-64)
    sizes = np.floor(values)
    left, margin = values - sizes, t * _LOG_ERROR
    near = (left <= margin) | (left >= 1 - margin) | (words < np.uint64(_FEW))
    found: Integers = sizes.astype(np.int64)
    for at in np.flatnonzero(near):
        found[at] = exact.exponential_floor(_uniform(key, first + int(at), 0, int(words[at]), 64), t)
    return found


def _kept(key: bytes, variance: int, first: int, words: Words, sizes: Integers) -> NDArray[np.bool_]:
    t = scale(variance)
    away = sizes - variance / t
    probability = np.exp(away * away / (-2.0 * variance))
    drawn = words.astype(np.float64) * 2.0**-63
    kept = drawn < probability
    for at in np.flatnonzero(np.abs(drawn - probability) <= _EXP_ERROR):
        exponent = (int(sizes[at]) * t - variance) ** 2
        drawn_exactly = _uniform(key, first + int(at), 1, int(words[at]), 63)
        kept[at] = exact.below_exp(drawn_exactly, exponent, 2 * variance * t * t)
    return kept


def _uniform(key: bytes, candidate: int, word: int, bits: int, count: int) -> Uniform:
    """The number that a word begins. It goes on in a lane of its own."""
    return Uniform(bits, count, lambda block: stream(key, 1 + 2 * candidate + word, block, 16))


def stream(key: bytes, lane: int, block: int, size: int) -> bytes:
    """Bytes of a key, from a block of a lane on."""
    counter = lane.to_bytes(8, "big") + block.to_bytes(8, "big")
    return Cipher(algorithms.AES256(key), modes.CTR(counter)).encryptor().update(bytes(size))
