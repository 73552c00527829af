"""A site in a round of encrypted updates: it encrypts once, says the same again wherever it is killed, and decrypts what it agreed to alone."""

import base64
import logging
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pytest

from fedapi.wire.privacy import Mechanism
from fedapi.wire.update import UPDATE
from fedcore.homomorphic import hub
from fedcore.homomorphic.contexts import SiteKey
from fedcore.homomorphic.parameters import PRIME
from fedcore.homomorphic.site import EncryptingState
from fedcore.privacy.distributed import lattice
from fedcore.secagg.site import noise_key
from fedtrainer.agent import securing, securing_encrypted
from fedtrainer.agent.securing_encrypted import SUM_SPOILT
from fedtrainer.errors import BadSettingsError, LinkExpiredError
from tests.unit.fedtrainer.agent.encrypted_round import EncryptedRound
from tests.unit.fedtrainer.agent.masked_round import (
    ITEMS,
    KilledError,
    Link,
    asked_again,
    at_step,
    killed_at,
    refusal,
)

SAMPLES = {"ada": 30, "bob": 120, "cleo": 77, "dora": 1}
NOISE = Mechanism(
    mode="Distributed", clip_norm=1.0, clipping="Flat", noise_multiplier=1.0, delta=1e-5, denominator=len(SAMPLES)
)


@pytest.fixture
def round_(tmp_path):
    return EncryptedRound(tmp_path, SAMPLES)


def assert_is_plain_sum(round_: EncryptedRound, sites=SAMPLES) -> None:
    assert sorted(round_.hub.state.survivors.survivors) == sorted(sites)
    assert np.array_equal(round_.opened(), round_.plain_sum(sites))


def state_of(round_: EncryptedRound, site: str) -> EncryptingState:
    return EncryptingState.stored(round_.file(site, "secure.json").read_bytes())


@pytest.mark.parametrize("heard", [False, True])
@pytest.mark.parametrize("call", range(14))
def test_a_site_that_is_killed_anywhere_hands_in_one_vector(round_, monkeypatch, call, heard):
    made = killed_at(monkeypatch, call, heard=heard)
    with suppress(KilledError):
        round_.run()
    round_.run()
    assert len(made) > call + 1, "the site was killed, and went on"
    assert sum(site == "bob" for site, _ in round_.hub.granted) == 2, "one vector, and the numbers"
    assert_is_plain_sum(round_)


@pytest.mark.parametrize("heard", [False, True])
@pytest.mark.parametrize("call", range(4))
def test_a_maker_that_is_killed_says_the_same_key(round_, monkeypatch, call, heard):
    at_step(round_, "Share")
    maker = hub.maker(round_.hub.state)
    made = killed_at(monkeypatch, call, heard=heard, site=maker)
    with suppress(KilledError):
        round_.run()
    round_.run()
    keys = {said.key.canonical() for _, said in round_.hub.said if said.key}
    assert len(made) > call + 1
    assert len(keys) == 1
    assert_is_plain_sum(round_)


@pytest.mark.parametrize("step", ["Mask", "Consent", "Open"])
def test_a_site_that_is_lost_costs_its_update_at_most(round_, step):
    round_.run({"bob": step})
    assert_is_plain_sum(round_, SAMPLES if step != "Mask" else SAMPLES.keys() - {"bob"})


def test_what_leaves_the_site_is_neither_plain_nor_a_secret(round_, caplog):
    caplog.set_level(logging.DEBUG)
    round_.run()
    states = [state_of(round_, name) for name in SAMPLES]
    told = caplog.text + "".join(said.model_dump_json() for _, said in round_.hub.said) + repr(states)
    for name, state in zip(SAMPLES, states, strict=True):
        payload = round_.hub.manifests[name].payloads[UPDATE]
        assert (payload.masked, len(payload.tag), payload.object.size) == (True, 16, 65536)
        assert round_.updates[name]["weight"].tobytes()[:64] not in round_.hub.store.get(payload.object.key)
        for secret in (state.exchange.seed, state.made):
            assert secret is None or base64.b64encode(secret).decode() not in told
        assert round_.file(name, "secure.json").stat().st_mode & 0o777 == 0o600
    assert [state.made is not None for state in states].count(True) == 1
    assert not [*round_.root.glob("*/state/*/*/*/update.encrypted"), *round_.root.glob("*/state/*/*/*/sum.*")]


def test_noise_of_the_sites_is_in_the_sum(tmp_path):
    round_ = EncryptedRound(tmp_path, SAMPLES, privacy=NOISE, weighs=False)
    round_.run()
    made = lattice.of(round_.order.secure.terms, NOISE.clip_norm, NOISE.noise_multiplier)
    keys = {name: noise_key(state_of(round_, name).exchange) for name in SAMPLES}
    total = sum(
        made.contribution(round_.values(name), key).view(np.int32).astype(np.int64) for name, key in keys.items()
    )
    assert np.array_equal(round_.opened(), total)
    assert len(list(tmp_path.rglob("releases.json"))) == len(SAMPLES)


def test_values_beyond_the_range_name_the_field(round_):
    round_.updates["ada"]["weight"][0, 0] = 9.0
    text = str(refusal(lambda: round_.turn("ada")))
    assert "raise privacy.homomorphicEncryption.valueRange" in text


def test_an_image_without_the_library_is_told_the_way_out(round_, monkeypatch):
    monkeypatch.setitem(sys.modules, "fedtrainer.agent.securing_encrypted", None)
    with pytest.raises(BadSettingsError, match=r"needs the package tenseal.*fedloom\[he\]"):
        round_.turn("ada")


def test_who_masks_does_not_load_the_library():
    code = "import fedtrainer.agent.securing, sys; print('tenseal' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"


# A site whose disk, or whose way to the hub, spoils what it has encrypted: nothing is ever encrypted twice for the hub.


def asked_for_vectors_again(round_: EncryptedRound) -> None:
    """The hub was killed before it had noted them."""
    none = {"masked_sha256": {}, "tags": {}, "survivors": None}
    round_.hub.state = round_.hub.state.model_copy(update=none)


def test_a_hub_that_was_killed_is_given_the_same_vectors_and_numbers(round_):
    at_step(round_, "Consent")
    before = round_.hub.manifests.copy()
    asked_for_vectors_again(round_)
    round_.run()
    assert round_.hub.manifests == before
    opened = round_.hub.state.numbers
    round_.hub.state = round_.hub.state.model_copy(update={"numbers": {}})
    round_.run()
    assert round_.hub.state.numbers == opened
    assert_is_plain_sum(round_)


@pytest.mark.parametrize("damage", [lambda data: bytes([data[0] ^ 1]) + data[1:], lambda data: data[:-8], None])
def test_an_encrypted_update_that_was_named_and_is_lost_ends_the_sites_part(round_, damage):
    at_step(round_, "Consent")
    asked_for_vectors_again(round_)
    path = round_.file("ada", "update.encrypted")
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage(path.read_bytes()))
    error = refusal(lambda: round_.turn("ada"))
    assert error.code == securing.STATE_LOST
    assert "takes part in the next attempt" in str(error)


def test_an_encrypted_update_that_was_never_named_is_made_anew(round_, monkeypatch):
    at_step(round_, "Mask")

    def killed(*_):
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(securing_encrypted.SecureFiles, "keep", killed)
        with suppress(KilledError):
            round_.turn("ada")
    unnamed = round_.file("ada", "update.encrypted").read_bytes()
    round_.file("ada", "update.encrypted").write_bytes(unnamed[:100])
    round_.run()
    assert round_.hub.store.get(round_.hub.manifests["ada"].payloads[UPDATE].object.key) != unnamed
    assert_is_plain_sum(round_)


def test_a_vector_that_comes_to_the_hub_damaged_is_sent_again_as_it_is(round_, monkeypatch):
    at_step(round_, "Mask")
    update, sent = Link.update, []

    def damaged(self, handed):
        sent.append(handed.body.payloads[UPDATE])
        if len(sent) == 1:
            raise securing.RejectedError("WrongDigest", "other bytes")
        return update(self, handed)

    monkeypatch.setattr(Link, "update", damaged)
    round_.turn("ada")
    assert sent[0] == sent[1]


# A hub, or a site, that does not keep to the protocol.


def sum_of(round_: EncryptedRound, sites) -> dict:
    tag = hub.added_tags(round_.hub.state.tags[name] for name in sites)
    return {
        "sum": hub.sum_request(round_.hub.state).model_copy(update={"tag": tag}),
        "encrypted": round_.hub.sum_of(sites),
    }


@pytest.mark.parametrize("sites", [("bob",), ("ada", "bob"), ("ada", "bob", "bob", "cleo", "dora")])
def test_another_sum_than_the_agreed_one_is_not_decrypted(round_, sites):
    at_step(round_, "Open")
    error = asked_again(round_, "ada", **sum_of(round_, sites))
    assert error.code == securing.PROTOCOL_BROKEN
    assert "not the sum of the updates that this site agreed to" in str(error)
    assert not list(round_.root.glob("ada/state/*/*/*/sum.numbers"))


def test_a_sum_of_another_size_is_not_fetched(round_, monkeypatch):
    at_step(round_, "Open")
    asked = killed_at(monkeypatch, 99, heard=False, site="ada")
    error = asked_again(round_, "ada", encrypted=round_.hub.served(bytes(2 * 65536)))
    assert f"an encrypted sum of {ITEMS} values has 65536 bytes, the hub's has 131072" in str(error)
    assert asked == ["secure"]


def test_a_sum_of_other_bytes_than_said(round_):
    at_step(round_, "Open")
    false = round_.hub.served(bytes(65536)).model_copy(update={"sha256": "0" * 64})
    assert asked_again(round_, "ada", encrypted=false).code == "WrongDigest"


def test_a_sum_whose_url_is_over_is_asked_for_anew(round_, monkeypatch):
    at_step(round_, "Open")

    def over(*_):
        raise LinkExpiredError("403")

    with monkeypatch.context() as patch:
        patch.setattr(Link, "download", over)
        with pytest.raises(LinkExpiredError):
            round_.turn("ada")
    round_.run()
    assert_is_plain_sum(round_)


def test_consents_that_are_not_enough(round_):
    at_step(round_, "Open")
    request = hub.sum_request(round_.hub.state)
    few = request.model_copy(update={"consents": request.consents[:2]})
    assert "2 consents are below the 3" in str(asked_again(round_, "ada", sum=few))


def test_other_participants_than_those_of_the_key(round_):
    at_step(round_, "Mask")
    other = next(name for name in SAMPLES if name != hub.maker(round_.hub.state))
    whole = round_.hub.state.participants
    fewer = whole.model_copy(update={"advertisements": whole.advertisements[:3]})
    for changed in (fewer, whole.model_copy(update={"whole_samples": 121})):
        assert asked_again(round_, other, participants=changed).code == securing.PROTOCOL_BROKEN
    assert other not in round_.hub.manifests


def test_another_key_than_before(round_):
    at_step(round_, "Consent")
    asked_for_vectors_again(round_)
    delivery = hub.delivery(round_.hub.state, "ada")
    other = delivery.model_copy(update={"key": delivery.key[:-1]})
    assert "another key was delivered before" in str(asked_again(round_, "ada", key=other))


def test_a_site_that_is_not_drawn_makes_no_key(round_):
    at_step(round_, "Share")
    other = next(name for name in SAMPLES if name != hub.maker(round_.hub.state))
    error = asked_again(round_, other, step="Share", participants=round_.hub.state.participants)
    assert "another site makes the key" in str(error)


def test_weights_below_those_of_a_site(round_):
    at_step(round_, "Mask")
    less = round_.hub.state.participants.model_copy(update={"whole_samples": 100})
    assert "names 100 samples as the most, this site has 120" in str(asked_again(round_, "bob", participants=less))


def test_noise_that_is_to_be_weighed(tmp_path):
    round_ = at_step(EncryptedRound(tmp_path, SAMPLES, privacy=NOISE, weighs=False), "Mask")
    weighed = round_.hub.state.participants.model_copy(update={"whole_samples": 120})
    assert "are to count alike" in str(asked_again(round_, "bob", participants=weighed))


@pytest.mark.parametrize("asked", ["Mask", "Consent", "Open"])
def test_a_step_without_what_it_needs_or_out_of_turn(round_, asked):
    at_step(round_, "Share")
    assert asked_again(round_, "ada", step=asked).code == securing.PROTOCOL_BROKEN
    early = {"survivors": None, "encrypted": round_.hub.served(bytes(65536)), "sum": None}
    assert asked_again(round_, "ada", step=asked, **early).code == securing.PROTOCOL_BROKEN


@pytest.mark.parametrize("part", ["key", "sealed"])
def test_a_maker_that_says_no_key(round_, part):
    """It answers for what it says, and the next draw is another site."""
    at_step(round_, "Mask")
    said = round_.hub.state.key
    spoilt = {
        "key": said.key[:-1] + bytes([said.key[-1] ^ 1]),
        "sealed": {name: sealed[:-1] + bytes([sealed[-1] ^ 1]) for name, sealed in said.sealed.items()},
    }
    round_.hub.state = round_.hub.state.model_copy(update={"key": said.model_copy(update={part: spoilt[part]})})
    for name in said.sealed:
        error = refusal(lambda name=name: round_.turn(name))
        assert error.code == securing.PROTOCOL_BROKEN
        assert ("is not the key of this attempt" if part == "key" else "sealed no key") in str(error).replace(
            "are not", "is not"
        )
    assert not round_.hub.manifests.keys() & said.sealed.keys()


@pytest.mark.parametrize("kind", ["noise", "another key"])
def test_a_site_that_spoils_the_sum_is_told_of_and_nothing_is_said(round_, monkeypatch, kind):
    """Its tag is right, since it has the secret: only the numbers show it."""
    at_step(round_, "Mask")

    def noise(state, numbers):
        drawn = np.random.default_rng(1).integers(0, PRIME, 8192, np.uint64)
        return [drawn] if kind == "noise" else securing_encrypted.site.vectors.encrypted_rows(SiteKey(), numbers)

    with monkeypatch.context() as patch:
        patch.setattr(securing_encrypted.site, "encrypted", noise)
        round_.turn("dora")
    at_step(round_, "Open")
    for name in SAMPLES:
        error = refusal(lambda name=name: round_.turn(name))
        assert error.code == SUM_SPOILT
        assert "leave sites out of the job, one at a time, to find it" in str(error)
    assert not round_.hub.state.numbers


def test_terms_of_masks_are_not_those_of_encryption(round_):
    round_.turn("ada")
    round_.scheme = None
    round_.order = round_.ordered(1)
    assert refusal(lambda: round_.turn("ada")).code == securing.STATE_LOST
