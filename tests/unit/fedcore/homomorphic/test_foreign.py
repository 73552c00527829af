"""Numbers and bytes of somebody else: what is no coefficient, tag or key of these parameters is refused."""

import numpy as np
import pytest
import tenseal

from fedcore.homomorphic import addition
from fedcore.homomorphic.contexts import MOST_KEY_BYTES, SiteKey
from fedcore.homomorphic.errors import MalformedError, NotASumError
from fedcore.homomorphic.parameters import DEGREE, PRIME, SCALE, SLOTS
from fedcore.homomorphic.vectors import decrypted, encrypted_rows

KEY = SiteKey()
(GOOD,) = encrypted_rows(KEY, np.arange(SLOTS, dtype=np.int32))


def changed(at: int, value: int) -> np.ndarray:
    found = GOOD.copy()
    found[at] = value
    return found


@pytest.mark.parametrize("value", [PRIME, PRIME + 1, (1 << 64) - 1])
@pytest.mark.parametrize("at", [0, DEGREE - 1, 2 * DEGREE - 1])
def test_coefficients_that_are_not_below_the_prime(at, value):
    with pytest.raises(MalformedError, match="below the prime"):
        addition.add(np.zeros_like(GOOD), changed(at, value))
    with pytest.raises(MalformedError, match="below the prime"):
        decrypted(KEY, [changed(at, value)], SLOTS)


def test_a_sum_that_hides_nothing_is_not_decrypted():
    """Of a ciphertext and its opposite, which only who saw the first can make."""
    total = GOOD.copy()
    addition.add(total, np.uint64(PRIME) - GOOD)
    assert not total.any()
    open_ = GOOD.copy()
    open_[DEGREE:] = 0
    for each in (total, open_):
        with pytest.raises(MalformedError, match="transparent"):
            decrypted(KEY, [each], SLOTS)


def test_random_coefficients_are_no_sum():
    with pytest.raises(NotASumError):
        decrypted(KEY, [np.random.default_rng(1).integers(0, PRIME, 2 * DEGREE, np.uint64)], SLOTS)


def test_a_vector_of_too_few_or_too_many_ciphertexts():
    for rows in ([GOOD], [GOOD] * 3):
        with pytest.raises(ValueError, match="zip"):
            decrypted(KEY, rows, SLOTS + 1)


@pytest.mark.parametrize("tag", [b"", bytes(15), bytes(17), PRIME.to_bytes(8, "little") + bytes(8), b"\xff" * 16])
def test_what_is_no_tag(tag):
    with pytest.raises(MalformedError, match="two numbers below the prime"):
        addition.added_tags([bytes(16), tag])


@pytest.mark.parametrize(
    "key",
    [b"", b"key", KEY.saved()[:-1], KEY.saved()[1:], b"\0" * (MOST_KEY_BYTES + 1), KEY.library.serialize()],
    ids=["nothing", "text", "cut", "without its head", "too long", "without a secret"],
)
def test_what_is_no_key(key):
    with pytest.raises(MalformedError):
        SiteKey(key)


@pytest.mark.parametrize(("modulus", "scale"), [([58, 49], SCALE), ([60, 49], 2.0**20)])
def test_a_key_of_other_parameters(modulus, scale):
    kind = tenseal.ENCRYPTION_TYPE.SYMMETRIC
    other = tenseal.context(tenseal.SCHEME_TYPE.CKKS, DEGREE, coeff_mod_bit_sizes=modulus, encryption_type=kind)
    other.global_scale = scale
    with pytest.raises(MalformedError, match="parameters of this version"):
        SiteKey(other.serialize(save_secret_key=True))
