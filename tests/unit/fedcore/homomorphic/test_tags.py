"""A hub that has the sites decrypt anything but the sum that they agreed on is refused by the tags."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcore.homomorphic.addition import add, added_tags
from fedcore.homomorphic.parameters import COEFFICIENTS, PRIME
from fedcore.homomorphic.tags import Tags
from fedcore.secagg.keys import Attempt

ATTEMPT = Attempt(bytes(32), bytes(range(32)))
TAGS = Tags(bytes(range(32)), ATTEMPT)
NAMES = ("ada", "bob", "cleo", "dora")
ROWS = 3


def vector(seed: int, rows: int = ROWS) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, PRIME, (rows, COEFFICIENTS), np.uint64)


def digest(rows: np.ndarray) -> str:
    return hashlib.sha256(rows.tobytes()).hexdigest()


VECTORS = {name: vector(seed) for seed, name in enumerate(NAMES)}
MADE = {name: TAGS.of(name, rows)[1] for name, rows in VECTORS.items()}
DIGESTS = {name: digest(rows) for name, rows in VECTORS.items()}


def total(names) -> np.ndarray:
    found = np.zeros((ROWS, COEFFICIENTS), np.uint64)
    for name in names:
        add(found, VECTORS[name])
    return found


def tag(names) -> bytes:
    return added_tags(MADE[name] for name in names)


def agreed(names) -> dict[str, str]:
    return {name: DIGESTS[name] for name in names}


@pytest.mark.parametrize("count", range(1, len(NAMES) + 1))
def test_the_sum_of_those_that_were_agreed_on(count):
    names = NAMES[:count]
    assert TAGS.hold(tag(names), agreed(names), total(names))


def test_every_other_set_than_the_agreed_one():
    """Also with the tag that fits it: a single update, fewer, more, one twice."""
    names = NAMES[:3]
    sets = [("ada",), ("ada", "bob"), NAMES, ("bob", "cleo", "dora"), ("ada", "ada", "bob"), ()]
    assert not any(TAGS.hold(each, agreed(names), total(found)) for found in sets for each in (tag(found), tag(names)))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, ROWS * COEFFICIENTS - 1), st.integers(0, 59))
def test_a_flipped_bit_of_the_sum(at, bit):
    found = total(NAMES)
    changed = found.flat[at] ^ np.uint64(1 << bit)
    found.flat[at] = changed if changed < PRIME else changed % PRIME
    assert not TAGS.hold(tag(NAMES), agreed(NAMES), found)


@pytest.mark.parametrize("bit", range(0, 128, 9))
def test_a_flipped_bit_of_the_tag(bit):
    good = int.from_bytes(tag(NAMES), "little")
    assert not TAGS.hold((good ^ 1 << bit).to_bytes(16, "little"), agreed(NAMES), total(NAMES))


def test_a_multiple_of_the_sum_with_the_same_multiple_of_its_tag():
    found = total(NAMES)
    add(found, total(NAMES))
    assert not TAGS.hold(added_tags([tag(NAMES)] * 2), agreed(NAMES), found)


def test_a_sum_whose_ciphertexts_are_in_another_order_or_fewer():
    assert not TAGS.hold(tag(NAMES), agreed(NAMES), total(NAMES)[::-1])
    assert not TAGS.hold(tag(NAMES), agreed(NAMES), total(NAMES)[:-1])


@pytest.mark.parametrize(
    "other",
    [
        replace(TAGS, attempt=replace(ATTEMPT, context=bytes([1] * 32))),
        replace(TAGS, attempt=replace(ATTEMPT, participants=bytes(32))),
        replace(TAGS, secret=bytes(32)),
    ],
    ids=["another attempt", "other participants", "another secret"],
)
def test_a_sum_of_another_attempt(other):
    assert not other.hold(tag(NAMES), agreed(NAMES), total(NAMES))


def test_updates_under_names_or_digests_of_others():
    swapped = agreed(NAMES) | {"ada": DIGESTS["bob"], "bob": DIGESTS["ada"]}
    assert not TAGS.hold(tag(NAMES), swapped, total(NAMES))
    assert not TAGS.hold(tag(NAMES), {("eve" if n == "ada" else n): d for n, d in DIGESTS.items()}, total(NAMES))


def test_products_are_those_of_whole_numbers():
    """Against Python's own, by what a single coefficient adds, at the largest that there is."""
    unit, most = np.zeros((2, 1, COEFFICIENTS), np.uint64)
    unit[0, 7], most[0, 7] = 1, PRIME - 1

    def product(rows: np.ndarray) -> int:
        """Of the tag, without its pad: that of nothing but zeros under the same name and digest."""
        pad = TAGS._pad("ada", digest(rows))
        return (int.from_bytes(TAGS.of("ada", rows)[1][:8], "little") - int.from_bytes(pad[:8], "little")) % PRIME

    r = product(unit)
    assert 0 < r < 1 << 32
    assert product(most) == r * (PRIME - 1) % PRIME
    assert (
        product(np.full((1, COEFFICIENTS), PRIME - 1, np.uint64))
        == -product(np.ones((1, COEFFICIENTS), np.uint64)) % PRIME
    )


def test_another_encryption_of_the_same_numbers_has_another_pad():
    """Else the difference of two tags would tell of r."""
    assert TAGS._pad("ada", DIGESTS["ada"]) != TAGS._pad("ada", DIGESTS["bob"])


def test_no_secret_is_shown():
    shown = repr(Tags(b"hidden" * 5, ATTEMPT))
    assert "hidden" not in shown
