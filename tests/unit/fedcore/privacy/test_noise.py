"""Normal numbers of a key: of the right distribution, the same in any pieces, and not to be told apart by who lacks the key."""

import hashlib
import math
from statistics import NormalDist

import numpy as np
import pytest

from fedcore.privacy.noise import normals, quantiles

KEY = bytes(range(32))
MANY = 400_000


def kolmogorov_smirnov(sample: np.ndarray) -> float:
    """The largest distance of the two distribution functions, times the square root of the size: 1.63 with p = 0.01."""
    there = np.sort(sample)
    expected = np.array([0.5 * math.erfc(-x / math.sqrt(2)) for x in there])
    steps = np.arange(there.size + 1) / there.size
    return max(np.abs(expected - steps[1:]).max(), np.abs(expected - steps[:-1]).max()) * math.sqrt(there.size)


@pytest.mark.parametrize("tensor", [0, 1, 7])
def test_they_are_normal(tensor):
    sample = normals(KEY, tensor, 0, MANY)
    assert kolmogorov_smirnov(sample) < 1.63
    assert abs(sample.mean()) < 4 / math.sqrt(MANY)
    assert abs(sample.var() - 1) < 4 * math.sqrt(2 / MANY)
    assert abs((sample**4).mean() - 3) < 4 * math.sqrt(96 / MANY)
    assert abs((sample[1:] * sample[:-1]).mean()) < 4 / math.sqrt(
        MANY
    )  # of neighbours, of one block of the cipher or of two


def test_the_same_in_any_pieces():
    whole = normals(KEY, 3, 0, 1001)
    for start, count in [(0, 1), (1, 1), (1, 2), (2, 5), (3, 998), (500, 501), (1000, 1), (1001, 0)]:
        assert np.array_equal(normals(KEY, 3, start, count), whole[start : start + count])


def test_other_tensors_and_other_keys_have_others():
    here, one_bit = normals(KEY, 0, 0, 10_000), bytes([KEY[0] ^ 1, *KEY[1:]])
    for other in (normals(KEY, 1, 0, 10_000), normals(one_bit, 0, 0, 10_000), normals(KEY, 0, 10_000, 10_000)):
        assert abs((here * other).mean()) < 4 / math.sqrt(10_000)


def test_quantiles_are_those_of_the_standard_library():
    words = np.random.default_rng(1).integers(0, 2**64, 20_000, np.uint64)
    tails = np.array([2 << k for k in range(63)], np.uint64)
    words = np.concatenate([words, tails, tails - np.uint64(2)])
    expected = [NormalDist().inv_cdf((int(w >> np.uint64(1)) + 0.5) * 2.0**-64) for w in words]
    signed = np.where(words & np.uint64(1), 1, -1) * np.array(expected)
    assert np.allclose(quantiles(words), signed, rtol=2e-15, atol=2e-16)


def test_the_ends_are_finite_and_alike():
    ends = quantiles(np.array([0, 1, 2**64 - 2, 2**64 - 1], np.uint64))
    assert ends[0] == -ends[1] == pytest.approx(9.08, abs=0.1)
    assert abs(ends[2]) < 1e-15


def test_the_bits_are_what_they_were():
    """A fold that is done again, on another machine or by another version, has the same noise."""
    digest = hashlib.sha256(normals(KEY, 5, 3, 100_001).astype("<f8").tobytes()).hexdigest()
    assert digest == "d20e9b2915f8206792b6a1e4bd85270cdfdf31b8b6719f4f00cc87d333d5a668"
