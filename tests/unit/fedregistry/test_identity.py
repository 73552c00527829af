"""Tokens of the registry: one per site and generation, and a file of generations that a mistake does not empty."""

import pytest

from fedapi.wire.tokens import heartbeat_token, init_token, reader_token, registry_key, site_token
from fedregistry.identity import Tokens, looks_like_one

KEY = registry_key(b"m" * 32)


def bearer(token):
    return f"Bearer {token}"


@pytest.mark.parametrize(
    ("shown", "held"),
    [
        (bearer(heartbeat_token(KEY, "ns/a")), True),
        (f"bearer  {heartbeat_token(KEY, 'ns/a')} ", True),
        (bearer(heartbeat_token(KEY, "ns/b")), False),
        (bearer(heartbeat_token(KEY, "ns/a", 1)), False),
        (bearer(reader_token(KEY)), False),
        (bearer(site_token(KEY, "ns/a")), False),
        (bearer(init_token(KEY)), False),
        (heartbeat_token(KEY, "ns/a"), False),
        (bearer("ä" * 64), False),
        ("", False),
    ],
)
def test_a_token_is_of_one_site_for_heartbeats_alone(shown, held):
    assert (Tokens(KEY).site_doubt("ns/a", shown) == "") is held


def test_sites_cannot_be_confused_by_how_their_names_are_written():
    assert heartbeat_token(KEY, "ns/a", 11) != heartbeat_token(KEY, "ns/a\x001", 1)
    assert Tokens(KEY).reader_doubt(bearer(reader_token(KEY))) == ""
    assert Tokens(KEY).reader_doubt(bearer(heartbeat_token(KEY, "ns/a")))


def test_what_has_no_form_of_a_token_is_seen_before_a_body_is_read():
    assert looks_like_one(bearer("0" * 64))
    assert [text for text in ("", "Bearer", bearer("0" * 63), "Basic " + "0" * 64) if looks_like_one(text)] == []


def test_generations_act_when_the_file_changes_and_a_broken_file_changes_nothing(tmp_path):
    file, first, second = (
        tmp_path / "g.json",
        bearer(heartbeat_token(KEY, "ns/a")),
        bearer(heartbeat_token(KEY, "ns/a", 1)),
    )
    tokens = Tokens(KEY, file)  # it is not there yet
    assert tokens.site_doubt("ns/a", first) == ""
    file.write_text('{"ns/a": 1}')
    tokens.look()
    assert tokens.site_doubt("ns/a", first)
    assert tokens.site_doubt("ns/a", second) == ""
    for broken in ("[]", '{"ns/a": true}', '{"ns/a": -1}', '{"ns/a": "2"}', "{"):
        file.write_text(broken + " " * len(broken))
        tokens.look()
        assert tokens.site_doubt("ns/a", second) == "", broken
    file.write_text("")
    tokens.look()
    assert tokens.site_doubt("ns/a", first) == ""
