"""Encrypted sums: exactly the plain sum of what was encrypted, whoever decrypts it, and to nobody else anything at all."""

import numpy as np
import pytest
import tenseal

from fedcore.homomorphic.contexts import HubContext, SiteKey
from fedcore.homomorphic.errors import NotASumError
from fedcore.homomorphic.parameters import LARGEST, SLOTS
from fedcore.homomorphic.vectors import added, ciphertexts, decrypted
from fedcore.secagg.quantization import Scale


@pytest.fixture(scope="module")
def key() -> SiteKey:
    return SiteKey()


@pytest.fixture(scope="module")
def hub() -> HubContext:
    return HubContext()


def numbers(seed: int, items: int, most: int = LARGEST) -> np.ndarray:
    return np.random.default_rng(seed).integers(-most, most, items, endpoint=True).astype(np.int32)


@pytest.mark.parametrize("items", [1, 2, 127, 128, SLOTS - 1, SLOTS, SLOTS + 1, 2 * SLOTS + 905])
@pytest.mark.parametrize("sites", [1, 2, 7])
def test_the_sum_is_exact(key, hub, items, sites):
    vectors = [numbers(seed, items, LARGEST // sites) for seed in range(sites)]
    total = [*added(hub, [ciphertexts(key, each) for each in vectors], items)]
    assert np.array_equal(decrypted(key, total, items), np.sum(vectors, axis=0))


@pytest.mark.parametrize("sign", [1, -1])
def test_a_sum_may_be_as_large_as_the_ring_of_masked_sums(key, hub, sign):
    """All values alike are the worst for the scheme: one coefficient has all of them."""
    most = np.full(SLOTS, sign * (LARGEST // 4), np.int32)
    total = added(hub, [ciphertexts(key, most) for _ in range(4)], SLOTS)
    assert np.array_equal(decrypted(key, total, SLOTS), 4 * most)


def test_every_site_has_the_same_numbers(key, hub):
    """So that the hub may compare what two of them say, and no error of the scheme tells anything of the key."""
    other = SiteKey(key.saved())
    vectors = [numbers(1, 3000, 1 << 20), numbers(2, 3000, 1 << 20)]
    total = [*added(hub, [ciphertexts(key, vectors[0]), ciphertexts(other, vectors[1])], 3000)]
    assert decrypted(key, total, 3000).tobytes() == decrypted(other, total, 3000).tobytes()


def test_updates_come_back_within_half_a_level_each(key, hub):
    sites, limit, items = 5, 0.75, 4000
    scale, rng = Scale(limit, sites), np.random.default_rng(3)
    updates = [np.clip(rng.normal(0, 0.2, items), -limit, limit).astype(np.float32) for _ in range(sites)]
    encoded = [np.empty(items, np.uint32) for _ in range(sites)]
    for update, into in zip(updates, encoded, strict=True):
        scale.encoded(update, into)
    total = added(hub, [ciphertexts(key, each.view(np.int32)) for each in encoded], items)
    found = scale.decoded(decrypted(key, total, items).view(np.uint32))
    assert np.abs(found - np.sum(updates, axis=0, dtype=np.float64)).max() <= sites * limit / scale.levels / 2 * 1.01


def test_a_thousand_sites_leave_the_error_far_from_the_next_whole_number(key, hub):
    """By the formula 3.2 sqrt(4096 n) / 2^27, of which this is 8 times: 2048 normal numbers are within 4."""
    vector = [*ciphertexts(key, numbers(4, SLOTS, 1 << 20))]
    total = b"".join(
        added(hub, [vector] * 2 + [[*ciphertexts(key, numbers(5, SLOTS, 1 << 20))] for _ in range(98)], SLOTS)
    )
    values = np.array(tenseal.ckks_vector_from(key.library, total).decrypt())
    assert 0 < np.abs(values - np.rint(values)).max() < 8 * 3.2 * np.sqrt(4096 * 102) / 2**27 < 0.001


def test_the_hub_has_no_key(key, hub):
    (ciphertext,) = ciphertexts(key, numbers(6, 5, 100))
    assert not hub.library.has_secret_key()
    with pytest.raises(ValueError, match="secret_key"):
        tenseal.ckks_vector_from(hub.library, ciphertext).decrypt()
    with pytest.raises(ValueError, match="encryption"):
        tenseal.ckks_vector(hub.library, [1.0])


def test_equal_numbers_are_encrypted_to_unlike_bytes_without_a_pattern(key):
    same = np.zeros(SLOTS, np.int32)
    first, second = (next(ciphertexts(key, same)) for _ in range(2))
    bits = np.unpackbits(np.frombuffer(first, np.uint8) ^ np.frombuffer(second, np.uint8))
    assert 0.45 < bits.mean() < 0.5, "of 64 bits 60 are random"


def test_another_key_finds_no_sum(key, hub):
    items = 3000
    total = [*added(hub, [ciphertexts(SiteKey(), numbers(7, items, 1 << 20))], items)]
    with pytest.raises(NotASumError, match="another key"):
        decrypted(key, total, items)


def test_a_site_with_another_key_spoils_the_sum_and_is_found_out(key, hub):
    vectors = [ciphertexts(each, numbers(8, 100, 1000)) for each in (key, key, SiteKey())]
    with pytest.raises(NotASumError):
        decrypted(key, added(hub, vectors, 100), 100)


def test_a_key_is_not_shown(key):
    assert repr(key) == str(key) == "SiteKey(…)"
    assert repr(HubContext()) != repr(key)
