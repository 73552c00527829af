"""Encrypted sums: exactly the plain sum of what was encrypted, whoever decrypts it, and to nobody else anything at all."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tenseal

from fedcore.homomorphic import addition
from fedcore.homomorphic.contexts import SiteKey
from fedcore.homomorphic.errors import NotASumError
from fedcore.homomorphic.parameters import LARGEST, PRIME, SLOTS
from fedcore.homomorphic.vectors import decrypted, encrypted_rows
from fedcore.secagg.quantization import Scale


@pytest.fixture(scope="module")
def key() -> SiteKey:
    return SiteKey()


def numbers(seed: int, items: int, most: int = LARGEST) -> np.ndarray:
    return np.random.default_rng(seed).integers(-most, most, items, endpoint=True).astype(np.int32)


def encrypted(key: SiteKey, vector: np.ndarray) -> np.ndarray:
    """A row for each ciphertext."""
    return np.stack(list(encrypted_rows(key, vector)))


def added(*vectors: np.ndarray) -> np.ndarray:
    total = np.zeros_like(vectors[0])
    for each in vectors:
        addition.add(total, each)
    return total


@pytest.mark.parametrize("items", [1, 2, 127, 128, SLOTS - 1, SLOTS, SLOTS + 1, 2 * SLOTS + 905])
@pytest.mark.parametrize("sites", [1, 2, 7])
def test_the_sum_is_exact(key, items, sites):
    vectors = [numbers(seed, items, LARGEST // sites) for seed in range(sites)]
    handed_in = [encrypted(key, each) for each in vectors]
    assert {each.nbytes for each in handed_in} == {addition.size(items)}
    assert np.array_equal(decrypted(key, added(*handed_in), items), np.sum(vectors, axis=0))


def test_coefficients_are_added_as_the_library_adds_ciphertexts(key):
    rows = np.concatenate([encrypted(key, numbers(seed, SLOTS)) for seed in range(20)])
    first, *others = [tenseal.ckks_vector_from(key.library, key.envelope.around(row.tobytes(), SLOTS)) for row in rows]
    for each in others:
        first.add_(each)
    expected = np.frombuffer(key.envelope.coefficients(first.serialize(), SLOTS), "<u8")
    assert np.array_equal(added(*rows), expected)
    assert rows.max() > PRIME - PRIME // 10_000, "the sum wraps"


@pytest.mark.parametrize("sign", [1, -1])
def test_a_sum_may_be_as_large_as_the_ring_of_masked_sums(key, sign):
    """All values alike are the worst for the scheme: one coefficient has all of them."""
    most = np.full(SLOTS, sign * (LARGEST // 4), np.int32)
    total = added(*(encrypted(key, most) for _ in range(4)))
    assert np.array_equal(decrypted(key, total, SLOTS), 4 * most)


def test_every_site_has_the_same_numbers(key):
    """So that the hub may compare what two of them say, and no error of the scheme tells anything of the key."""
    other = SiteKey(key.saved())
    total = added(encrypted(key, numbers(1, 3000, 1 << 20)), encrypted(other, numbers(2, 3000, 1 << 20)))
    assert decrypted(key, total, 3000).tobytes() == decrypted(other, total, 3000).tobytes()


def test_updates_come_back_within_half_a_level_each(key):
    sites, limit, items = 5, 0.75, 4000
    scale, rng = Scale(limit, sites), np.random.default_rng(3)
    updates = [np.clip(rng.normal(0, 0.2, items), -limit, limit).astype(np.float32) for _ in range(sites)]
    whole = [np.empty(items, np.uint32) for _ in range(sites)]
    for update, into in zip(updates, whole, strict=True):
        scale.encoded(update, into)
    total = added(*(encrypted(key, each.view(np.int32)) for each in whole))
    found = scale.decoded(decrypted(key, total, items).view(np.uint32))
    assert np.abs(found - np.sum(updates, axis=0, dtype=np.float64)).max() <= sites * limit / scale.levels / 2 * 1.01


def test_a_thousand_sites_leave_the_error_far_from_the_next_whole_number(key):
    """By the formula 3.2 sqrt(4096 n) / 2^27, of which this is 8 times: 2048 normal numbers are within 4."""
    (total,) = added(*(encrypted(key, numbers(seed, SLOTS, 1 << 20)) for seed in range(100)))
    values = np.array(tenseal.ckks_vector_from(key.library, key.envelope.around(total.tobytes(), SLOTS)).decrypt())
    assert 0 < np.abs(values - np.rint(values)).max() < 8 * 3.2 * np.sqrt(4096 * 100) / 2**27 < 0.001


def test_who_adds_needs_no_library():
    code = "import sys; import fedcore.homomorphic.addition; sys.exit('tenseal' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_equal_numbers_are_encrypted_to_unlike_coefficients_without_a_pattern(key):
    same = np.zeros(SLOTS, np.int32)
    first, second = encrypted(key, same), encrypted(key, same)
    bits = np.unpackbits((first ^ second).view(np.uint8))
    assert 0.45 < bits.mean() < 0.5, "of 64 bits 60 are random"


def test_another_key_finds_no_sum(key):
    total = encrypted(SiteKey(), numbers(7, 3000, 1 << 20))
    with pytest.raises(NotASumError, match="another key"):
        decrypted(key, total, 3000)


def test_a_site_with_another_key_spoils_the_sum_and_is_found_out(key):
    total = added(*(encrypted(each, numbers(8, 100, 1000)) for each in (key, key, SiteKey())))
    with pytest.raises(NotASumError):
        decrypted(key, total, 100)


def test_a_key_is_not_shown(key):
    assert repr(key) == str(key) == "SiteKey(…)"


def test_a_key_takes_one_thread_however_many_cores_there_are():
    """By itself TenSEAL starts one for each, for every key that is made or loaded."""
    saved, tasks = SiteKey().saved(), Path("/proc/self/task")
    before = len([*tasks.iterdir()])
    kept = [SiteKey(saved) for _ in range(3)]
    assert len([*tasks.iterdir()]) <= before + len(kept)
