"""The sites' key reaches those that it was sealed to, of that attempt, and nobody else."""

from dataclasses import replace

import pytest

from fedcore.homomorphic.contexts import SiteKey
from fedcore.homomorphic.errors import MalformedError
from fedcore.homomorphic.sealing import ContentKey
from fedcore.secagg import keys
from fedcore.secagg.keys import Attempt

ATTEMPT = Attempt(bytes(32), bytes(range(32)))
SECRETS = {name: bytes([number + 1] * 32) for number, name in enumerate(("ada", "bob", "eve"))}
PUBLIC = {name: keys.public(secret) for name, secret in SECRETS.items()}
MADE = ContentKey.made(bytes([9] * 32), ATTEMPT)
SEALED = MADE.sealed("ada", SECRETS["ada"], "bob", PUBLIC["bob"])
SAVED = SiteKey().saved()


def unsealed(
    sealed: bytes = SEALED, attempt: Attempt = ATTEMPT, maker: str = "ada", receiver: str = "bob", who: str = "bob"
):
    return ContentKey.unsealed(sealed, attempt, maker, PUBLIC[maker], receiver, SECRETS[who])


def test_a_receiver_has_the_same_key_and_the_same_tags():
    found = unsealed()
    assert found.unlocked(MADE.locked(SAVED)).saved() == SAVED
    assert found.tags() == MADE.tags()
    assert len(SEALED) == 48


def test_what_is_said_again_is_the_same():
    again = ContentKey.made(bytes([9] * 32), ATTEMPT)
    assert again.sealed("ada", SECRETS["ada"], "bob", PUBLIC["bob"]) == SEALED
    assert again.locked(SAVED) == MADE.locked(SAVED)


@pytest.mark.parametrize(
    "wrong",
    [
        {"who": "eve"},
        {"receiver": "eve"},
        {"maker": "eve"},
        {"attempt": replace(ATTEMPT, context=bytes([1] * 32))},
        {"attempt": replace(ATTEMPT, participants=bytes(32))},
        {"sealed": SEALED[:-1] + bytes([SEALED[-1] ^ 1])},
        {"sealed": bytes(48)},
    ],
    ids=", ".join,
)
def test_what_was_sealed_to_another_or_for_another_attempt(wrong):
    with pytest.raises(MalformedError, match="sealed no key"):
        unsealed(**wrong)


def test_a_key_that_was_exchanged_on_its_way():
    other = ContentKey.made(bytes([8] * 32), ATTEMPT)
    for locked in (other.locked(SAVED), b"", MADE.locked(SAVED)[1:]):
        with pytest.raises(MalformedError, match="not the key of this attempt"):
            unsealed().unlocked(locked)
    with pytest.raises(MalformedError):
        unsealed().unlocked(MADE.locked(b"no key of the scheme"))


def test_no_key_is_shown():
    assert "hidden" not in repr(ContentKey(b"hidden" * 5, ATTEMPT))
