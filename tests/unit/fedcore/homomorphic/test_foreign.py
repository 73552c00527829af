"""Bytes of somebody else: what is no ciphertext or key of these parameters is refused, before a parser unpacks it."""

import numpy as np
import pytest
import tenseal

from fedcore.homomorphic.contexts import MOST_KEY_BYTES, HubContext, SiteKey
from fedcore.homomorphic.errors import MalformedError
from fedcore.homomorphic.parameters import COEFFICIENT_BYTES, DEGREE, SCALE, SLOTS
from fedcore.homomorphic.vectors import added, ciphertexts, decrypted

KEY, HUB = SiteKey(), HubContext()
GOOD = next(ciphertexts(KEY, np.arange(SLOTS, dtype=np.int32)))
BODY = len(GOOD) - 9 - COEFFICIENT_BYTES  # where the coefficients begin


def of(parameters: tuple[int, list[int]], scale: float = SCALE, kind=tenseal.ENCRYPTION_TYPE.SYMMETRIC) -> bytes:
    degree, modulus = parameters
    context = tenseal.context(tenseal.SCHEME_TYPE.CKKS, degree, coeff_mod_bit_sizes=modulus, encryption_type=kind)
    context.global_scale = scale
    return tenseal.ckks_vector(context, [1.0] * min(SLOTS, degree // 2)).serialize()


def bomb() -> bytes:
    """A frame whose 15,000 blocks say "this byte, 128 KiB times": 2 GB."""
    frame = bytes.fromhex("28b52ffd00a0") + 15_000 * ((128 << 10 << 3 | 2).to_bytes(3, "little") + b"\0")
    sealed = bytes.fromhex("5ea1100403020000") + (16 + len(frame)).to_bytes(8, "little") + frame
    length = bytes([len(sealed) & 0x7F | 0x80, len(sealed) >> 7 & 0x7F | 0x80, len(sealed) >> 14])
    return GOOD[:4] + b"\x12" + length + sealed


def refused(ciphertext: bytes, count: int = SLOTS, *, at: str = "both") -> None:
    if at != "site":
        with pytest.raises(MalformedError):
            [*added(HUB, [[GOOD if count == SLOTS else ciphertext], [ciphertext]], count)]
    with pytest.raises(MalformedError):
        decrypted(KEY, [ciphertext], count)


BAD = {
    "nothing": b"",
    "one byte": b"\n",
    "cut": GOOD[:-1],
    "more": GOOD + b"\0",
    "text": b"x" * len(GOOD),
    "another count": next(ciphertexts(KEY, np.zeros(SLOTS - 1, np.int32))),
    "another degree": of((8192, [60, 49])),
    "another modulus": of((4096, [58, 49])),
    "another scale": of((4096, [60, 49]), scale=2.0**26),
    "coefficients over the modulus": GOOD[:BODY] + b"\xff" * COEFFICIENT_BYTES + GOOD[-9:],
    "transparent": GOOD[: BODY + COEFFICIENT_BYTES // 2] + bytes(COEFFICIENT_BYTES // 2) + GOOD[-9:],
    "nothing but zeros": GOOD[:BODY] + bytes(COEFFICIENT_BYTES) + GOOD[-9:],
    "a bomb": bomb(),
    "a bomb as long as a ciphertext": bomb().ljust(len(GOOD), b"\0"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_ciphertext_of_these_parameters(name):
    refused(BAD[name])


@pytest.mark.parametrize("at", range(BODY))
def test_any_other_byte_of_the_envelope(at):
    refused(GOOD[:at] + bytes([GOOD[at] ^ 1]) + GOOD[at + 1 :])


def test_vectors_that_are_too_short():
    with pytest.raises(MalformedError, match="not 0"):
        [*added(HUB, [[GOOD], [GOOD]], SLOTS + 1)]
    with pytest.raises(MalformedError, match="not 0"):
        decrypted(KEY, [GOOD], SLOTS + 1)


def test_a_sum_that_hides_nothing_is_no_sum():
    """Of a ciphertext and its opposite, which only who saw the first can make."""
    first = tenseal.ckks_vector_from(KEY.library, GOOD)
    opposite = (-first).serialize()
    with pytest.raises(MalformedError, match="cannot be added"):
        [*added(HUB, [[GOOD], [opposite]], SLOTS)]


@pytest.mark.parametrize(
    "key",
    [
        b"",
        b"key",
        KEY.saved()[:-1],
        KEY.saved()[1:],
        b"\0" * (MOST_KEY_BYTES + 1),
        bytes(HUB.library.serialize(save_secret_key=False)),
    ],
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
