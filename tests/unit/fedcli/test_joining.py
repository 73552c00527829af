"""Whether a request to join counts: each reason against it by itself, in the order in which they are told."""

import base64
from dataclasses import replace
from datetime import timedelta

import pytest

from fedapi.crd.flclient import FLClientSpec
from fedapi.wire.enrollment import JoinRequest, JoinToken
from fedapi.wire.signing import SigningKey
from fedcli.joining import is_in, let_in, opened, refusal
from tests.unit.fedapi.wire.test_enrollment import CA, KEY, NOW, OTHER_CA

SITE = "hospitals/berlin"
TOKEN = JoinToken.made(SITE, NOW + timedelta(days=1), CA)
ASKED = JoinRequest.of_text(TOKEN.request(KEY))


def spec(token=TOKEN, *keys):
    enrollment = opened(token) if token else {}
    return FLClientSpec.model_validate(
        {"provider": "AWS", "enrollment": enrollment} | ({"identity": {"keys": list(keys)}} if keys else {})
    )


def key(number, **more):
    return {"publicKey": base64.b64encode(bytes([number]) * 32).decode(), **more}


def test_a_request_by_the_token_that_is_out_counts():
    assert refusal(ASKED, SITE, spec(), NOW) == ""


@pytest.mark.parametrize(
    ("asked", "of", "now", "words"),
    [
        (ASKED, spec(), NOW + timedelta(days=1), "its token has ended"),
        (ASKED, spec(None), NOW, "no token of hospitals/berlin is out"),  # used, denied, or a replay after the approval
        (ASKED, FLClientSpec(provider="AWS"), NOW, "no token of hospitals/berlin is out"),
        (ASKED, spec(JoinToken.made(SITE, TOKEN.not_after, CA)), NOW, "another token than the one"),
        (
            JoinRequest.of_text(replace(TOKEN, site="hospitals/bern").request(KEY)),
            spec(),
            NOW,
            "of site 'hospitals/bern'",
        ),
        (JoinRequest.of_text(replace(TOKEN, authorities=OTHER_CA).request(KEY)), spec(), NOW, "changed on its way"),
        (
            JoinRequest.of_text(replace(TOKEN, authorities=CA + OTHER_CA).request(KEY)),
            spec(),
            NOW,
            "changed on its way",
        ),
        (ASKED, spec(TOKEN, {"publicKey": KEY.public_key, "revoked": True}), NOW, "was revoked"),
        (ASKED, spec(TOKEN, *map(key, range(64))), NOW, "has 64 keys already"),
    ],
)
def test_what_is_not_let_in(asked, of, now, words):
    assert words in refusal(asked, SITE, of, now)


def test_one_write_brings_the_key_and_takes_the_token():
    before = spec(TOKEN, key(1, notAfter="2027-01-01T00:00:00Z"))
    after = let_in(before, KEY.public_key)
    assert after == {
        "identity": {"keys": [key(1, notAfter="2027-01-01T00:00:00Z", revoked=False), {"publicKey": KEY.public_key}]},
        "enrollment": None,
    }
    merged = FLClientSpec.model_validate({"provider": "AWS"} | after)
    assert is_in(merged, ASKED)
    assert not is_in(before, ASKED)
    assert "no token" in refusal(ASKED, SITE, merged, NOW), "single use"
    assert "no token" in refusal(JoinRequest.of_text(TOKEN.request(SigningKey.generated())), SITE, merged, NOW)


def test_a_key_that_is_revoked_is_not_in():
    assert not is_in(spec(None, {"publicKey": KEY.public_key, "revoked": True}), ASKED)
