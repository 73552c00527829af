"""A real trainer that encrypts what it sends to a real aggregator: the same model, the same bytes after a kill, the site's state."""

import hashlib

import pytest
from safetensors.numpy import load

from fedapi.outcome import Exit
from fedapi.wire.ciphertext import KEMS
from tests.integration.fedaggregator.harness import JOB_KEY
from tests.integration.fedtrainer.programs import Site, models
from tests.integration.protocol.application import Hub
from tests.integration.protocol.faults import Answer, Changed
from tests.unit.fedapi.wire.test_encryption import decrypted


def put(hub: Hub) -> list[bytes]:
    """Updates that were sent by URL."""
    return [each.said for each in hub.line.exchanges if each.route == "put" and ".safetensors.enc?" in each.path]


@pytest.mark.parametrize("inline", [True, False])
def test_encrypted_or_not_the_model_is_the_same(tmp_path, made, inline):
    found = []
    for kem in (None, *KEMS):
        hub = made(rounds=2, inline=inline, encryption=kem)
        site = Site(tmp_path / f"site-{kem}", hub)
        hub.give(site.initial_model("AddOne"))
        ended = site.call("train", "AddOne")
        assert ended.code == 0, ended.log
        assert [manifest.payloads["update"].encryption for manifest in hub.updates] == [kem] * 2
        found.append(models(hub))
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 3


def test_an_update_that_was_finished_is_sent_again_as_the_same_bytes(tmp_path, made):
    """Another training of the same order has another key: no key ever encrypts two things."""
    hub = made(inline=False, encryption="MLKEM768X25519")
    site = Site(tmp_path / "site", hub, env={"FEDLOOM_PATIENCE_S": "0.2"})
    hub.give(site.initial_model())
    hub.line.plan("updates", *[Answer(503)] * 50)
    assert site.call("train").code == Exit.AGGREGATOR_LOST
    first = put(hub)[0]
    hub.line.mend()
    ended = site.call("train")
    assert ended.code == 0
    assert "hands in the update of an earlier process" in ended.log
    assert {hashlib.sha256(sent).hexdigest() for sent in put(hub)} == {hashlib.sha256(first).hexdigest()}
    (manifest,) = hub.updates
    assert manifest.objects[0].sha256 == hashlib.sha256(first).hexdigest()
    assert min(load(decrypted(first, "MLKEM768X25519", manifest.place("update"), JOB_KEY))).startswith("0.")


def test_a_kept_update_that_is_damaged_is_trained_again_by_another_key(tmp_path, made):
    hub = made(inline=False, encryption="X25519")
    site = Site(tmp_path / "site", hub, env={"FEDLOOM_PATIENCE_S": "0.2"})
    hub.give(site.initial_model())
    hub.line.plan("updates", *[Answer(503)] * 50)
    assert site.call("train").code == Exit.AGGREGATOR_LOST
    first = put(hub)[0]
    hub.line.mend()
    (kept,) = (site.folder / "state").rglob("update.safetensors")
    kept.write_bytes(first[:-1] + bytes([first[-1] ^ 1]))
    ended = site.call("train")
    assert ended.code == 0
    assert "the kept update is damaged (WrongDigest" in ended.log
    (manifest,) = hub.updates
    second = next(sent for sent in put(hub) if hashlib.sha256(sent).hexdigest() == manifest.objects[0].sha256)
    plain = [decrypted(sent, "X25519", manifest.place("update"), JOB_KEY) for sent in (first, second)]
    assert plain[0] == plain[1], "the same training"
    assert first[:92] != second[:92]
    assert not set(_chunks(first)) & set(_chunks(second))


def _chunks(data: bytes) -> list[bytes]:
    return [data[at : at + 16] for at in range(92, len(data), 16)]


def test_bytes_that_change_on_the_way_are_sent_again(tmp_path, made):
    hub = made(inline=False, encryption="X25519")
    site = Site(tmp_path / "site", hub)
    hub.give(site.initial_model())
    hub.line.plan("put", Changed("request"))
    ended = site.call("train")
    assert ended.code == 0, ended.log
    assert len(hub.updates) == 1


def test_the_site_s_state_is_that_of_the_update_as_it_was_sent(tmp_path, made):
    hub = made(rounds=3, encryption="X25519")
    site = Site(tmp_path / "site", hub)
    hub.give(site.initial_model("Counts"))
    ended = site.call("train", "Counts")
    assert ended.code == 0, ended.log
    assert [manifest.metrics["n"] for manifest in hub.updates] == [1.0, 2.0, 3.0]
