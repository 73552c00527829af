"""The two lines by which a site enrolls: whole they say what was meant, and changed in one place they are refused."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from fedapi.wire import enrollment
from fedapi.wire.enrollment import JoinRequest, JoinToken, MalformedEnrollmentError, fingerprints
from fedapi.wire.signing import SigningKey
from fedoperator.key_material import Keys

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
CA, OTHER_CA = (Keys.generated(NOW).ca_cert for _ in range(2))
TOKEN = JoinToken.made("hospitals/berlin", NOW + timedelta(days=1), CA)
KEY = SigningKey.generated()


def test_a_token_says_what_was_meant():
    read = JoinToken.of_text(f"  {TOKEN.text()}\n")
    assert (read.site, read.not_after, read.authorities) == (TOKEN.site, TOKEN.not_after, CA)
    assert read.key.public_key == TOKEN.key.public_key


def test_a_request_is_of_the_token_s_site_and_has_nothing_secret():
    text = TOKEN.request(KEY)
    read = JoinRequest.of_text(text)
    assert (read.site, read.token_key, read.public_key) == (TOKEN.site, TOKEN.key.public_key, KEY.public_key)
    assert read.key_id == KEY.id
    assert list(read.authorities) == fingerprints(CA)
    for secret in (TOKEN.key.seed(), KEY.seed()):
        assert base64.b64encode(secret).decode()[:20] not in base64.b64decode(text.split(".")[1] + "==").decode()
    assert "seed" not in repr(TOKEN)
    assert base64.b64encode(TOKEN.key.seed()).decode() not in repr(TOKEN)


def test_while_one_ca_replaces_another_a_token_has_both():
    token = JoinToken.made("a/b", NOW, CA + OTHER_CA)
    assert JoinRequest.of_text(token.request(KEY)).authorities == tuple(
        sorted(fingerprints(CA) + fingerprints(OTHER_CA))
    )


def forged(signers, **changed):
    """A request of whoever has these keys."""
    said = {
        "purpose": enrollment.PURPOSE, "site": TOKEN.site, "tokenKey": TOKEN.key.public_key, "publicKey": KEY.public_key,
        "authorities": fingerprints(CA),
    } | changed  # fmt: skip
    body = json.dumps(said).encode()
    signatures = (base64.b64decode(each.signature(body)) for each in signers)
    return ".".join(
        [enrollment.REQUEST, *(base64.urlsafe_b64encode(each).rstrip(b"=").decode() for each in (body, *signatures))]
    )


def test_the_forger_of_these_tests_can_do_it():
    assert JoinRequest.of_text(forged((KEY, TOKEN.key))) == JoinRequest.of_text(TOKEN.request(KEY))


@pytest.mark.parametrize(
    ("signers", "changed", "words"),
    [
        ((TOKEN.key, TOKEN.key), {}, "not signed by the publicKey"),  # a thief of the token names the site's key as his
        ((KEY, KEY), {}, "not signed by the tokenKey"),  # nobody was asked
        ((KEY, TOKEN.key), {"purpose": "fedloom.dev/release/v1"}, "another purpose"),
        ((KEY, TOKEN.key), {"site": 1}, "damaged"),
        ((KEY, TOKEN.key), {"more": 1}, "other things"),
        ((KEY, TOKEN.key), {"authorities": []}, "damaged"),
        ((KEY, TOKEN.key), {"authorities": [["a"]]}, "damaged"),
        ((KEY, TOKEN.key), {"authorities": ["ab"]}, "damaged"),
        ((KEY, TOKEN.key), {"publicKey": KEY.public_key[:-4]}, "damaged|not signed by the publicKey"),
        ((KEY, TOKEN.key), {"publicKey": KEY.public_key.replace("=", "")}, "damaged"),
    ],
)
def test_a_forged_request_is_refused(signers, changed, words):
    with pytest.raises(MalformedEnrollmentError, match=words):
        JoinRequest.of_text(forged(signers, **changed))


def test_each_letter_counts():
    """Of a request: signed. Of a token: what cannot be told from another is noticed when it is used."""
    text = TOKEN.request(KEY)
    for at in range(0, len(text), 7):
        other = "A" if text[at] != "A" else "B"
        with pytest.raises(MalformedEnrollmentError):
            JoinRequest.of_text(text[:at] + other + text[at + 1 :])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fedloom-join-1",
        "fedloom-join-1.",
        "fedloom-join-2.e30",
        "fedloom-join-1.e30",
        "fedloom-join-1.W10",
        "x" * 20000,
    ],
)
def test_what_is_no_token_is_refused(text):
    with pytest.raises(MalformedEnrollmentError):
        JoinToken.of_text(text)


@pytest.mark.parametrize("site", ["berlin", "a/b/c", "A/b", "a/", "a/b\n"])
def test_a_token_is_of_one_site(site):
    with pytest.raises(MalformedEnrollmentError):
        JoinToken.of_text(replace(TOKEN, site=site).text())


@pytest.mark.parametrize("ca", [b"", b"none", CA * 5])
def test_a_token_has_the_hub_s_ca(ca):
    with pytest.raises(MalformedEnrollmentError):
        JoinToken.made("a/b", NOW, ca)
