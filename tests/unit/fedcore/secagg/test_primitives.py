"""What each primitive gives, held against published vectors, other implementations and exact arithmetic."""

import hashlib
import hmac
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fedcore.secagg import graph, keys, masking, shamir
from fedcore.secagg.errors import OutOfRangeError
from fedcore.secagg.keys import Attempt, Keys
from fedcore.secagg.masking import Mask
from fedcore.secagg.quantization import Scale

BOND = Attempt(bytes(32), b"\x01" * 32)


def test_the_keystream_is_aes_256_in_counter_mode():
    """From counter 0 on: the first block is AES-256 of zeros."""
    assert masking.keystream(bytes(32), 16).hex() == "dc95c078a2408989ad48a21492842087"
    vector = np.zeros(8, np.uint32)
    masking.apply(vector, [Mask(bytes(32), added=True)])
    assert vector.tobytes() == masking.keystream(bytes(32), 32)


ALICE = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"
BOB = "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"
ALICE_PUBLIC = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
BOB_PUBLIC = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
AGREED = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"


def test_a_pair_mask_is_x25519_of_rfc_7748_and_hkdf_of_rfc_5869():
    """Section 6.1: Alice and Bob agree on a secret; the mask's key is it, bound to attempt and pair."""
    assert keys.public(bytes.fromhex(ALICE)).hex() == ALICE_PUBLIC
    info = b"fedloom secagg pair mask\0"
    for part in (bytes(32), b"\x01" * 32, b"alice", b"bob"):
        info += len(part).to_bytes(4) + part
    extracted = hmac.digest(bytes(32), bytes.fromhex(AGREED), "sha256")
    expected = Mask(hmac.digest(extracted, info + b"\x01", "sha256"), added=True)
    assert BOND.pair_mask("alice", bytes.fromhex(ALICE), "bob", bytes.fromhex(BOB_PUBLIC)) == expected
    assert BOND.pair_mask("bob", bytes.fromhex(BOB), "alice", bytes.fromhex(ALICE_PUBLIC)) == expected.inverse()


def test_sealed_shares_are_aes_256_gcm():
    """The same bytes, made by the primitive itself from a key that is made by hand."""
    place = b"fedloom secagg shares\0"
    for part in (bytes(32), b"\x01" * 32, b"alice", b"bob"):
        place += len(part).to_bytes(4) + part
    key = hmac.digest(hmac.digest(bytes(32), bytes.fromhex(AGREED), "sha256"), place + b"\x01", "sha256")
    made = BOND.sealed(b"both", "alice", bytes.fromhex(ALICE), "bob", bytes.fromhex(BOB_PUBLIC))
    assert AESGCM(key).decrypt(bytes(12), made, place) == b"both"


def test_signatures_of_rfc_8032():
    """Section 7.1, test 2: of one byte."""
    key = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
    signature = bytes.fromhex(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    assert keys.signed(key, signature, b"\x72")
    assert not keys.signed(key, signature, b"\x73")
    assert not keys.signed(key, bytes(64), b"\x72")


@pytest.mark.parametrize("size", [1, 2, 16383, 16384, 16385, 50000])
def test_masks_of_any_size(size):
    """Block by block it is the whole stream; taken away again nothing is left."""
    made = [Mask(bytes([n]) * 32, added=n % 2 == 0) for n in range(3)]
    vector = np.arange(size, dtype=np.uint32)
    masking.apply(vector, made)
    streams = [np.frombuffer(masking.keystream(mask.key, 4 * size), "<u4") for mask in made]
    assert np.array_equal(vector, np.arange(size, dtype=np.uint32) + streams[0] - streams[1] + streams[2])
    masking.apply(vector, [mask.inverse() for mask in made])
    assert np.array_equal(vector, np.arange(size, dtype=np.uint32))


@pytest.mark.parametrize("vector", [np.zeros(4), np.zeros((2, 2), np.uint32), np.zeros(8, np.uint32)[::2]])
def test_what_cannot_be_masked(vector):
    with pytest.raises(ValueError, match="contiguous vector"):
        masking.apply(vector, [])


def test_masked_updates_are_uniform():
    """Chi-square of each byte's values, for updates that are far from uniform; the bounds are passed by 1 of 10^6 fixed seeds."""
    for number in range(8):
        vector = np.full(1 << 16, number, np.uint32)
        masking.apply(vector, [Mask(hashlib.sha256(bytes([number])).digest(), added=True)])
        for place in range(4):
            counts = np.bincount(vector.view(np.uint8)[place::4], minlength=256)
            statistic = float(((counts - 256.0) ** 2 / 256.0).sum())
            assert 161 < statistic < 377  # of 255 degrees of freedom


def test_a_pair_has_one_mask_with_two_signs():
    one, two = (Keys.made(bytes([n]) * 32, bytes(32)) for n in (1, 2))
    first = BOND.pair_mask("a", one.mask_secret, "b", keys.public(two.mask_secret))
    second = BOND.pair_mask("b", two.mask_secret, "a", keys.public(one.mask_secret))
    assert first == second.inverse()
    assert first.added
    assert BOND.mirrored("a", keys.public(one.mask_secret), "b", two.mask_secret) == first
    other = Attempt(bytes(32), b"\x02" * 32)
    assert other.pair_mask("a", one.mask_secret, "b", keys.public(two.mask_secret)).key != first.key


def test_keys_are_hkdf_of_label_and_terms():
    """RFC 5869 by hand: extract with a salt of zeros, expand with label and context, both with their length."""
    made = Keys.made(b"\x07" * 32, b"\x08" * 32)
    extracted = hmac.digest(bytes(32), b"\x07" * 32, "sha256")
    info = b"fedloom secagg mask key\0" + (32).to_bytes(4) + b"\x08" * 32
    assert made.mask_secret == hmac.digest(extracted, info + b"\x01", "sha256")
    assert len({made.mask_secret, made.share_secret, made.self_seed}) == 3
    assert "07" not in repr(made)


def test_labels_and_parts_are_told_apart():
    assert (
        len({keys.bound("a", b"b", b"c"), keys.bound("a", b"bc"), keys.bound("a", b"", b"bc"), keys.bound("ab", b"c")})
        == 4
    )


def test_shares_are_sealed_to_one_receiver():
    one, two = (Keys.made(bytes([n]) * 32, bytes(32)).share_secret for n in (1, 2))
    sealed = BOND.sealed(bytes(66), "a", one, "b", keys.public(two))
    assert BOND.unsealed(sealed, "a", keys.public(one), "b", two) == bytes(66)
    assert BOND.unsealed(sealed, "b", keys.public(one), "a", two) is None
    assert BOND.unsealed(sealed, "a", keys.public(two), "b", two) is None
    assert Attempt(bytes(32), bytes(32)).unsealed(sealed, "a", keys.public(one), "b", two) is None
    assert BOND.unsealed(bytes(len(sealed)), "a", keys.public(one), "b", two) is None


def test_the_prime_is_one():
    """By Fermat to many bases, and the smallest above 2^256."""
    assert all(pow(base, shamir.PRIME - 1, shamir.PRIME) == 1 for base in range(2, 60))
    composite = (n for n in range((1 << 256) + 1, shamir.PRIME, 2))
    assert all(pow(3, n - 1, n) != 1 for n in composite)


@pytest.mark.parametrize(("count", "threshold"), [(1, 1), (5, 3), (5, 5), (7, 2)])
def test_any_threshold_shares_give_the_secret(count, threshold):
    secret = b"\xff" * 32
    made = shamir.shares(secret, range(1, count + 1), threshold, masking.keystream(bytes(32), 48 * (threshold - 1)))
    for chosen in combinations(range(count), threshold):
        assert shamir.secret({place + 1: made[place] for place in chosen}) == secret


def test_fewer_shares_say_nothing():
    """Any secret is as good as another: with one share less, each has one polynomial that fits."""
    made = shamir.shares(bytes(32), [1, 2, 3], 3, masking.keystream(bytes(32), 96))
    for guess in (b"\x00" * 32, b"\x01" * 32, b"\xff" * 32):
        values = {0: int.from_bytes(guess), 1: int.from_bytes(made[0]), 2: int.from_bytes(made[1])}
        third = _through(values, 3)
        assert shamir.secret({1: made[0], 2: made[1], 3: third.to_bytes(33)}) == guess


def _through(values, at):
    total = 0
    for place, value in values.items():
        above = below = 1
        for other in values:
            if other != place:
                above, below = above * (at - other), below * (place - other)
        total += value * above * pow(below, -1, shamir.PRIME)
    return total % shamir.PRIME


def test_what_is_not_shared():
    for wrong in (
        lambda: shamir.shares(bytes(31), [1], 1, b""),
        lambda: shamir.shares(bytes(32), [1, 2], 2, b""),
        lambda: shamir.shares(bytes(32), [0], 1, b""),
        lambda: shamir.shares(bytes(32), [1, 1], 1, b""),
        lambda: shamir.shares(bytes(32), [1], 2, bytes(48)),
    ):
        with pytest.raises(ValueError, match=r"secret of 32 bytes|places"):
            wrong()
    for bytes_ in (bytes(32), shamir.PRIME.to_bytes(33), (1 << 256).to_bytes(33)):
        with pytest.raises(shamir.MalformedShareError):
            shamir.secret({1: bytes_})


@pytest.mark.parametrize("sites", [2, 3, 5, 100, 1024])
def test_the_ring_holds_the_sum_of_all_sites(sites):
    scale = Scale(2.5, sites)
    for value in (2.5, -2.5):
        out = np.empty(3, np.uint32)
        scale.encoded(np.full(3, value, np.float32), out)
        total = np.sum([out] * sites, axis=0, dtype=np.uint32)
        assert np.allclose(scale.decoded(total), sites * value, rtol=1e-15)


def test_quantization_is_the_nearest_integer():
    scale = Scale(1.0, 10)
    values = np.linspace(-1, 1, 100001, dtype=np.float32)
    out = np.empty(values.size, np.uint32)
    scale.encoded(values, out)
    exact = [round(Fraction(float(value)) * scale.levels) for value in values[::1000]]
    assert out.view(np.int32)[::1000].tolist() == exact


def test_a_value_outside_is_an_error_or_counted():
    scale, out = Scale(1.0, 4), np.empty(5, np.uint32)
    values = np.array([0.5, 1.5, -2.0, np.inf, 1.0], np.float32)
    with pytest.raises(OutOfRangeError, match="3 of 5 values are larger than the limit of 1"):
        scale.encoded(values, out)
    assert scale.clipped(values, out) == 3
    assert scale.decoded(out).tolist() == [pytest.approx(0.5), 1.0, -1.0, 1.0, 1.0]
    with pytest.raises(OutOfRangeError, match="NaN"):
        scale.clipped(np.array([np.nan], np.float32), out[:1])


@pytest.mark.parametrize(
    ("sites", "colluding", "lost"), [(33, 3, 3), (60, 5, 10), (100, 10, 10), (100, 20, 10), (500, 50, 50)]
)
def test_the_degree_is_the_smallest_that_keeps_both_bounds(sites, colluding, lost):
    """Tails of the hypergeometric distribution with exact fractions, by its recurrence instead of binomials."""
    reach, crowded = graph.degree(sites, colluding, lost)
    assert sites * _tail(sites, colluding, reach, crowded + 1) <= Fraction(1, 2**80)
    assert sites * _tail(sites, lost, reach, reach - crowded) <= Fraction(1, 2**20)
    fewer = reach - 1
    least = next(w for w in range(fewer + 1) if sites * _tail(sites, colluding, fewer, w + 1) <= Fraction(1, 2**80))
    assert least == fewer or sites * _tail(sites, lost, fewer, fewer - least) > Fraction(1, 2**20)


def _tail(sites, marked, drawn, least):
    """P(at least so many marked ones of those drawn), one draw after the other."""
    chances = {0: Fraction(1)}
    for taken in range(drawn):
        after = {}
        for found, chance in chances.items():
            hit = Fraction(marked - found, sites - taken)
            after[found] = after.get(found, 0) + chance * (1 - hit)
            if hit:
                after[found + 1] = after.get(found + 1, 0) + chance * hit
        chances = after
    return sum((chance for found, chance in chances.items() if found >= least), Fraction(0))


def test_many_colluding_sites_need_the_complete_graph():
    assert graph.degree(40, 13, 13) is None
    assert graph.graph(bytes(32), [f"s{n}" for n in range(40)], 27, 13).reach == 0


def test_neighbours_are_so_both_ways_and_as_many():
    names = [f"s{n:03}" for n in range(100)]
    ring = graph.graph(b"seed", names, 90, 10)
    assert ring.reach == 21
    for name in names:
        assert len(ring.neighbours(name)) == 42
        assert all(name in ring.neighbours(other) for other in ring.neighbours(name))
        assert ring.holders(name) == tuple(sorted((*ring.neighbours(name), name)))
    assert graph.graph(b"other", names, 90, 10).ring != ring.ring


def test_small_federations_are_complete():
    ring = graph.graph(b"seed", [f"s{n}" for n in range(32)], 20, 0)
    assert len(ring.neighbours("s0")) == 31
    assert ring.threshold == 20


def test_public_keys_are_those_of_the_library():
    secret = hashlib.sha256(b"any").digest()
    assert keys.public(secret) == X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()
    assert keys.usable(keys.public(secret))
    assert not keys.usable(bytes(32))
    assert not keys.usable((1).to_bytes(32, "little"))
