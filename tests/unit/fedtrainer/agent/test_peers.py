"""Whose keys a site trusts: those of its own folder, or those that it saw first; and what it says of others."""

import base64

import pytest

from fedtrainer.agent.peers import UNTRUSTED, Peers
from fedtrainer.errors import BadSettingsError, RejectedError

OWN = {"ada": b"a" * 32}
ROSTER = {**OWN, "bob": b"b" * 32, "cleo": b"c" * 32}


def text(key: bytes) -> str:
    return base64.b64encode(key).decode()


def folder(tmp_path, keys):
    tmp_path.mkdir(exist_ok=True)
    for site, lines in keys.items():
        (tmp_path / site).write_text(lines)
    return tmp_path


def test_keys_are_those_that_were_seen_first(tmp_path):
    assert Peers(None, tmp_path).pinned(ROSTER, OWN) == ROSTER
    with pytest.raises(RejectedError, match="site 'bob' has another key than when this site saw it first") as raised:
        Peers(None, tmp_path).pinned(ROSTER | {"bob": b"x" * 32}, OWN)
    assert raised.value.code == UNTRUSTED
    assert Peers(None, tmp_path).pinned(ROSTER, OWN) == ROSTER, "what was refused has changed nothing"


def test_a_site_that_joins_later_is_pinned_then(tmp_path):
    Peers(None, tmp_path).pinned({**OWN, "bob": ROSTER["bob"]}, OWN)
    Peers(None, tmp_path).pinned(ROSTER, OWN)
    with pytest.raises(RejectedError, match="'cleo'"):
        Peers(None, tmp_path).pinned(ROSTER | {"cleo": b"x" * 32}, OWN)


def test_who_is_not_there_in_a_round_stays_pinned(tmp_path):
    Peers(None, tmp_path).pinned(ROSTER, OWN)
    Peers(None, tmp_path).pinned({**OWN, "bob": ROSTER["bob"]}, OWN)
    with pytest.raises(RejectedError, match="'cleo'"):
        Peers(None, tmp_path).pinned(ROSTER | {"cleo": b"x" * 32}, OWN)


def test_a_folder_says_it_all_whatever_was_seen_before(tmp_path):
    Peers(None, tmp_path).pinned(ROSTER | {"bob": b"x" * 32}, OWN)
    keys = folder(tmp_path / "keys", {site: text(key) for site, key in ROSTER.items()})
    assert Peers(keys, tmp_path).pinned(ROSTER, OWN) == ROSTER
    with pytest.raises(RejectedError, match=r"'bob'.*spec\.identity\.peers, entry 'bob'"):
        Peers(keys, tmp_path).pinned(ROSTER | {"bob": b"x" * 32}, OWN)
    with pytest.raises(RejectedError, match="'dora'"):
        Peers(keys, tmp_path).pinned(ROSTER | {"dora": b"d" * 32}, OWN)


def test_two_keys_of_a_site_while_it_changes_them(tmp_path):
    keys = folder(tmp_path / "keys", {site: f"{text(b'o' * 32)}\n{text(key)}\n" for site, key in ROSTER.items()})
    assert Peers(keys, tmp_path).pinned(ROSTER, OWN) == ROSTER


@pytest.mark.parametrize("given", [None, "keys"])
def test_the_sites_own_key_is_its_own(tmp_path, given):
    changed = ROSTER | {"ada": b"x" * 32}
    keys = folder(tmp_path / given, {site: text(key) for site, key in changed.items()}) if given else None
    with pytest.raises(RejectedError, match="another key of this site, 'ada', than it signs by"):
        Peers(keys, tmp_path).pinned(changed, OWN)


@pytest.mark.parametrize("line", ["AAAA", "no base64!", text(b"x" * 33)])
def test_what_is_no_key_ends_the_process_by_name(tmp_path, line):
    keys = folder(tmp_path / "keys", dict.fromkeys(ROSTER, line))
    with pytest.raises(
        BadSettingsError, match=r"FEDLOOM_PEER_KEYS_DIR: .*each line is the 32 bytes of an Ed25519 public key"
    ):
        Peers(keys, tmp_path).pinned(ROSTER, OWN)


def test_a_damaged_memory_is_told_with_the_way_out(tmp_path):
    Peers(None, tmp_path).pinned(ROSTER, OWN)
    (tmp_path / "peers.json").write_text("[1")
    with pytest.raises(BadSettingsError, match=r"peers\.json is damaged .*: delete it"):
        Peers(None, tmp_path).pinned(ROSTER, OWN)
