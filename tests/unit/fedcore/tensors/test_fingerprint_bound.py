"""The bound on unseen changes (ADR 42, derived in 53), counted out for small words; and that SplitMix64's factors pass for independent ones.

With words and factors of places of w bits, sums modulo 2^2w, and odd factors of chunks of 2w bits, a change is unseen in one sum by at most
(w + 1) / 2^w of all keys. With w = 32 and two sums that is less than 2^-53.
"""

from itertools import product

import numpy as np
import pytest

from fedcore.tensors import kernels


def worst(bits: int, chunks: int, words: int) -> float:
    """The largest share of keys for which a change is unseen, over all changes of so many chunks of so many words."""
    modulus = 1 << 2 * bits
    inner = np.array(list(product(range(1, 1 << bits, 2), repeat=words)))
    outer = np.array(
        list(product([1], *[range(1, modulus, 2)] * (chunks - 1)))
    )  # what all have in common changes nothing
    found = 0.0
    for change in product(range(1 - (1 << bits), 1 << bits), repeat=chunks * words):
        if change > (0,) * len(change):  # the opposite of a change is as visible
            sums = outer @ (np.array(change).reshape(chunks, words) @ inner.T)
            found = max(found, float(np.mean(sums % modulus == 0)))
    return found


@pytest.mark.parametrize(("bits", "chunks", "words"), [(2, 2, 1), (2, 3, 1), (2, 2, 2), (3, 2, 1), (4, 2, 1)])
def test_no_change_is_unseen_by_more_keys_than_the_bound_says(bits, chunks, words):
    assert 0 < worst(bits, chunks, words) <= (bits + 1) / 2**bits


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_within_a_chunk_it_is_one_value_of_one_factor(bits):
    assert worst(bits, 1, 2) <= 2.0 ** (1 - bits)
    assert worst(bits, 1, 1) == 0, "a change of one word is always seen"


def factors(seed: int, chunks: list[int]) -> list[int]:
    """Those that the library takes: of a key whose other factors are 1, a word that is 1 adds its chunk's factor."""
    key = np.ones(512, np.uint32).tobytes() + seed.to_bytes(8, "little") * 2
    return [kernels.fingerprint(memoryview(b"\1\0\0\0"), 1024 * chunk, key)[0] for chunk in chunks]


@pytest.mark.parametrize("signs", [(1, -1), (1, 1), (1, -1, 1, -1), (1, 1, 1, 1), (1, -2, 1)])
@pytest.mark.parametrize("chunks", [[0, 1, 2, 3], [0, 1 << 20, 5, 1 << 40]])
def test_sums_of_factors_divide_by_powers_of_two_as_those_of_random_odd_numbers(signs, chunks):
    """What the bound takes from them: all are even, of those every second divides by 4, and so on. The seeds are always the same."""
    seeds = np.random.default_rng(7).integers(0, 1 << 63, 4000).tolist()
    found = [sum(s * f for s, f in zip(signs, factors(seed, chunks), strict=False)) for seed in seeds]
    for power in range(5):
        share = np.mean([value % (2 << power) == 0 for value in found])
        assert abs(share - 0.5**power) < 0.04  # five times the deviation
