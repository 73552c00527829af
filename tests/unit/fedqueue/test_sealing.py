"""Who holds no token reads nothing and makes nothing; what is sealed for one is nobody else's."""

import pytest

from fedapi.wire.queued import Envelope
from fedqueue.sealing import ForgedError, Seal, envelope

SEAL = Seal("ab" * 32, "uid-1", "berlin")


def test_what_is_sealed_is_opened_by_the_same_site_job_and_direction():
    one = SEAL.sealed("to hub", b"secret words")
    assert SEAL.opened("to hub", envelope(one.model_dump_json())) == b"secret words"
    assert b"secret" not in one.model_dump_json().encode()
    assert SEAL.sealed("to hub", b"secret words").nonce != one.nonce


@pytest.mark.parametrize(
    "other", [Seal("cd" * 32, "uid-1", "berlin"), Seal("ab" * 32, "uid-2", "berlin"), Seal("ab" * 32, "uid-1", "paris")]
)
def test_another_token_job_or_site_opens_nothing(other):
    with pytest.raises(ForgedError, match="not sealed"):
        other.opened("to hub", SEAL.sealed("to hub", b"x"))


def test_what_was_sent_to_the_hub_cannot_be_turned_round():
    with pytest.raises(ForgedError):
        SEAL.opened("to site", SEAL.sealed("to hub", b"x"))


@pytest.mark.parametrize("field", ["nonce", "sealed"])
def test_a_changed_bit_is_seen(field):
    one = SEAL.sealed("to hub", b"words")
    changed = {
        "nonce": {"nonce": f"{int(one.nonce, 16) ^ 1:024x}"},
        "sealed": {"sealed": bytes([one.sealed[0] ^ 1]) + one.sealed[1:]},
    }[field]
    with pytest.raises(ForgedError):
        SEAL.opened("to hub", one.model_copy(update=changed))


@pytest.mark.parametrize("text", ["", "{}", "nonsense", '{"Records": []}', '{"job_uid": 1}'])
def test_what_is_no_envelope_is_told(text):
    with pytest.raises(ForgedError, match="no envelope"):
        envelope(text)


def test_an_envelope_shows_no_token():
    text = SEAL.sealed("to hub", b"x").model_dump_json()
    assert "ab" * 8 not in text
    assert Envelope.model_validate_json(text).client == "berlin"
