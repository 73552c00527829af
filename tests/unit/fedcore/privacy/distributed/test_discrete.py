"""Discrete Gaussian numbers: of the right distribution, decided without error, the same wherever they are drawn."""

import hashlib
import math
from decimal import Context, Decimal

import numpy as np
import pytest

from fedcore.privacy.distributed import discrete, exact
from fedcore.privacy.distributed.discrete import gaussians
from fedcore.privacy.distributed.exact import Uniform

KEY = bytes(range(32))
MANY = 400_000
PRECISE = Context(prec=120)


@pytest.mark.parametrize("variance", [1, 2, 3, 7, 40, 1000])
def test_the_probabilities_are_those_of_the_definition(variance):
    """Pearson's chi-squared of all values that are to be expected 20 times or more; the others are one class."""
    sample = gaussians(KEY, variance, MANY)
    reach = 40 * (math.isqrt(variance) + 1)
    weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * variance))
    expected = MANY * weights / weights.sum()
    found = np.bincount(sample + reach, minlength=expected.size)
    usual = expected >= 20
    classes = [(found[usual], expected[usual]), (found[~usual].sum(), expected[~usual].sum())]
    squared = sum(np.sum((seen - due) ** 2 / due) for seen, due in classes)
    free = np.count_nonzero(usual)
    assert abs(squared - free) < 4 * math.sqrt(2 * free)


@pytest.mark.parametrize("variance", [10**6, 2**52, 2**60 - 1])
def test_large_ones_are_normal(variance):
    """The largest distance of the distribution functions, times the square root of the size: 1.63 with p = 0.01."""
    sample = np.sort(gaussians(KEY, variance, MANY)) / math.sqrt(variance)
    normal = np.array([0.5 * math.erfc(-x / math.sqrt(2)) for x in sample])
    steps = np.arange(MANY + 1) / MANY
    assert max(np.abs(normal - steps[1:]).max(), np.abs(normal - steps[:-1]).max()) * math.sqrt(MANY) < 1.63
    assert abs((sample[:, None] ** [2, 4]).mean(0) - [1, 3]).max() < 4 * math.sqrt(96 / MANY)


@pytest.mark.parametrize("variance", [1, 5, 10**6, 2**52])
def test_exact_arithmetic_decides_alike(monkeypatch, variance):
    """All is left to it."""
    expected = gaussians(KEY, variance, 200)
    monkeypatch.setattr(discrete, "_LOG_ERROR", 1.0)
    monkeypatch.setattr(discrete, "_EXP_ERROR", 1.0)
    assert np.array_equal(gaussians(KEY, variance, 200), expected)


def test_floats_are_as_right_as_is_assumed():
    """With 50 bits and more of u and of a probability, in units of what may be wrong."""
    words = [
        (1 << 50),
        (1 << 50) + 1,
        (1 << 63) - 1,
        (1 << 64) - 1,
        *np.random.default_rng(1).integers(2**50, 2**64, 400, np.uint64),
    ]
    for word in map(int, words):
        found = -math.log((float(word) + 0.5) * 2.0**-64), -np.log((np.uint64(word).astype(float) + 0.5) * 2.0**-64)
        right = -PRECISE.ln(PRECISE.divide(Decimal(2 * word + 1), Decimal(2**65)))
        assert all(abs(Decimal(float(each)) - right) < Decimal(discrete._LOG_ERROR / 4) for each in found)
        probability = Decimal(float(np.exp(-found[1])))
        assert abs(probability - PRECISE.exp(-Decimal(float(found[1])))) < Decimal(discrete._EXP_ERROR / 16)


def bits(value: Decimal, count: int) -> int:
    return math.floor(PRECISE.multiply(value, Decimal(2**count)))


@pytest.mark.parametrize("lead", [8, 63, 64])
@pytest.mark.parametrize(("beyond", "below"), [(-1, True), (1, False)])
def test_a_number_next_to_the_border_is_read_on(lead, beyond, below):
    """Its first bits, and 128 more, are those of e^-3 but for the last one."""
    border = bits(PRECISE.exp(-3), lead + 128)
    first, rest = divmod(border + beyond, 1 << 128)
    drawn = Uniform(first, lead, lambda block: rest.to_bytes(16, "little") if block == 0 else bytes([170] * 16))
    assert exact.below_exp(drawn, 6, 2) is below
    assert exact.exponential_floor(drawn, 1) == (3 if below else 2)


def test_the_ends():
    """Of u: 2^-192 and a little more; 1 less 2^-64 and less."""
    silent = Uniform(0, 64, lambda block: (1 - block).to_bytes(16, "little"))
    assert exact.exponential_floor(silent, 1) == math.floor(192 * math.log(2))
    most = Uniform(2**64 - 1, 64, lambda _: bytes(16))
    assert exact.below_exp(most, 0, 1)
    assert exact.exponential_floor(most, 1 << 30) == 0


def test_fewer_are_the_first_of_more():
    whole = gaussians(KEY, 9, 100_000)
    for count in (0, 1, 2, 1000, 32_768, 99_999):
        assert np.array_equal(gaussians(KEY, 9, count), whole[:count])


def test_other_keys_have_others():
    here, there = gaussians(KEY, 2**40, 10_000) / 2**20, gaussians(bytes(32), 2**40, 10_000) / 2**20
    assert abs((here * there).mean()) < 4 / math.sqrt(10_000)


@pytest.mark.parametrize("variance", [-1, 0, 2**60])
def test_a_variance_that_is_out_of_range(variance):
    with pytest.raises(ValueError, match="from 1 to 2\\^60"):
        gaussians(KEY, variance, 1)


def test_the_numbers_are_what_they_were():
    """A site that is killed and masks again must have the same noise, whatever its version and its processor."""
    digest = hashlib.sha256(b"".join(gaussians(KEY, v, 50_000).astype("<i8").tobytes() for v in (1, 10**9))).hexdigest()
    assert digest == "84dd72261640b561741389b8a846b943e90ca7983338a5f8c16116e5a46e9bc7"
