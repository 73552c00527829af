"""One CA replaces another: whatever was renewed before a step is trusted by whoever was renewed after it, and the other way round."""

import ssl
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from fedapi import names
from fedoperator.ca_rotation import step
from fedoperator.certificates import LIFETIME
from fedoperator.key_material import Keys, aggregator_files, site_files

NOW = datetime.now(UTC).replace(microsecond=0)


def rotation():
    """The keys before, after each of the three steps."""
    keys = [Keys.generated(NOW - 3 * LIFETIME)]
    for number in range(3):
        keys.append(step(keys[-1], NOW - (2 - number) * LIFETIME, LIFETIME).keys)
    return keys


def test_each_step_waits_until_all_was_renewed():
    begun = step(Keys.generated(NOW), NOW, LIFETIME)
    assert begun.again == NOW + LIFETIME
    early = step(begun.keys, NOW + LIFETIME - timedelta(seconds=1), LIFETIME)
    assert (early.keys, early.again) == (None, NOW + LIFETIME)
    issuing = step(begun.keys, NOW + LIFETIME, LIFETIME)
    assert step(issuing.keys, NOW + LIFETIME, LIFETIME).keys is None
    last = step(issuing.keys, NOW + 2 * LIFETIME, LIFETIME)
    assert last.again is None
    assert last.keys.ca_cert == begun.keys.next_ca_cert
    assert last.keys.trusted == last.keys.ca_cert
    assert step(last.keys, NOW + 2 * LIFETIME, LIFETIME).keys.next_ca_cert, "and another one may begin"


def test_tokens_and_names_stay_and_no_key_is_left_behind():
    before, *_, after = rotation()
    assert (after.master, after.id) == (before.master, before.id)
    assert after.ca_key != before.ca_key
    assert set(after.files()) == set(before.files())


@pytest.mark.parametrize("keys", rotation())
def test_each_stage_round_trips_and_shows_nothing(keys):
    assert Keys.from_files(keys.files()) == keys
    assert "PRIVATE" not in repr(keys)


@pytest.mark.parametrize("stages", [*pairwise(rotation()), *((b, a) for a, b in pairwise(rotation()))])
def test_neighbouring_stages_trust_each_other_in_both_directions(tmp_path, stages):
    """A hub of one stage, a site of the other: mutual TLS by OpenSSL."""
    hub, site = stages
    far = context(tmp_path / "hub", ssl.Purpose.CLIENT_AUTH, aggregator_files(hub, "u", ["localhost"], NOW))
    near = context(tmp_path / "site", ssl.Purpose.SERVER_AUTH, site_files(site, "u", "a", NOW))
    handshake(near, far)


def test_stages_that_are_no_neighbours_do_not(tmp_path):
    before, *_, after = rotation()
    far = context(tmp_path / "hub", ssl.Purpose.CLIENT_AUTH, aggregator_files(before, "u", ["localhost"], NOW))
    near = context(tmp_path / "site", ssl.Purpose.SERVER_AUTH, site_files(after, "u", "a", NOW))
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(near, far)


def context(folder, purpose, files):
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    made = ssl.create_default_context(purpose, cafile=str(folder / names.FILE_CA))
    made.load_cert_chain(folder / names.FILE_TLS_CERT, folder / names.FILE_TLS_KEY)
    made.verify_mode = ssl.CERT_REQUIRED
    return made


def handshake(client, server):
    """Both sides in memory, until both are satisfied."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    far = server.wrap_bio(to_server, to_client, server_side=True)
    done = set()
    for _ in range(10):
        for side in (near, far):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            done.add(side)
        if len(done) == 2:
            return
    raise AssertionError("no end of the handshake")
