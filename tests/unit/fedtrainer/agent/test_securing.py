"""A site in a round under masks: wherever it is killed it says the same again, and what a hub does against the protocol it does not join in."""

import base64
import json
import logging
from contextlib import closing, suppress

import numpy as np
import pytest

from fedapi.wire.orders import Reference
from fedapi.wire.privacy import Mechanism, PrivacyDemand
from fedapi.wire.secagg import Groups, SurvivorSet
from fedapi.wire.signing import SigningKey
from fedapi.wire.training import OptimizerSettings, TrainingOverride
from fedapi.wire.update import UPDATE
from fedcore.secagg import hub
from fedcore.secagg.site import SiteState
from fedtrainer.agent import securing
from fedtrainer.agent.checkpoint_store import CheckpointStore
from fedtrainer.errors import BadSettingsError, NotPrivateError
from tests.unit.fedaggregator.engine.test_unmasking import assert_is_plain_mean, mean_of
from tests.unit.fedtrainer.agent import masked_round
from tests.unit.fedtrainer.agent.masked_round import (
    ITEMS,
    Hub,
    KilledError,
    Link,
    MaskedRound,
    asked_again,
    killed_at,
    refusal,
)

SAMPLES = {"ada": 30, "bob": 120, "cleo": 77, "dora": 120, "emil": 1}


@pytest.mark.parametrize("heard", [False, True])
@pytest.mark.parametrize("call", range(12))
def test_a_site_that_is_killed_anywhere_says_the_same_again(tmp_path, monkeypatch, call, heard):
    round_ = MaskedRound(tmp_path, SAMPLES)
    made = killed_at(monkeypatch, call, heard=heard)
    with suppress(KilledError):
        round_.run()
    round_.run()
    assert len(made) > call + 1, "the site was killed, and went on"
    assert len(round_.hub.state.survivors.survivors) == 5
    assert_is_plain_mean(round_)


def test_a_site_that_is_lost_after_it_shared_costs_its_update_and_nothing_else(tmp_path):
    round_ = MaskedRound(tmp_path, SAMPLES)
    round_.run({"cleo": "Mask"})
    assert "cleo" not in round_.hub.manifests
    assert_is_plain_mean(round_)


def test_the_plain_update_is_never_sent(tmp_path):
    round_ = MaskedRound(tmp_path, SAMPLES)
    round_.run()
    for name, manifest in round_.hub.manifests.items():
        sent = round_.hub.store.get(manifest.payloads[UPDATE].object.key)
        assert len(sent) == 4 * ITEMS
        assert manifest.payloads[UPDATE].masked
        assert round_.updates[name]["weight"].tobytes()[:64] not in sent


def test_seeds_are_of_one_attempt(tmp_path):
    round_ = MaskedRound(tmp_path, SAMPLES)
    round_.run()
    first = dict(round_.hub.state.advertisements)
    round_.order = round_.ordered(2)
    round_.hub = Hub(round_.order.secure.terms)
    round_.run()
    again = round_.hub.state.advertisements
    assert all(first[name].mask_key != again[name].mask_key for name in SAMPLES)
    assert not list(tmp_path.glob("*/state/*/*/*-1-*")), "what the first attempt left is gone with its folder"
    assert_is_plain_mean(round_)


def test_the_state_is_the_sites_alone(tmp_path):
    round_ = MaskedRound(tmp_path, SAMPLES)
    round_.turn("ada")
    (state,) = tmp_path.glob("ada/state/*/ada/*/secure.json")
    assert state.stat().st_mode & 0o777 == 0o600


def test_no_secret_is_in_logs_or_in_what_is_sent(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    round_ = MaskedRound(tmp_path, SAMPLES, overflow="Clip")
    round_.updates["ada"]["weight"][0, 0] = 100.0
    round_.run({"bob": "Mask"})
    states = [SiteState.stored(path.read_bytes()) for path in tmp_path.glob("*/state/*/*/*/secure.json")]
    assert len(states) == len(SAMPLES)
    told = caplog.text + "".join(said.model_dump_json() for _, said in round_.hub.said) + repr(states)
    assert "were clipped" in told
    for state in states:
        assert base64.b64encode(state.seed).decode() not in told
        assert state.seed.hex() not in told
        assert repr(state.seed) not in told


def test_another_update_is_not_masked_by_the_same_keys(tmp_path):
    round_ = at_step(tmp_path, "Consent")
    (update,) = tmp_path.glob("ada/state/*/ada/*/update.safetensors")
    data = bytearray(update.read_bytes())
    data[-40] ^= 64
    update.write_bytes(bytes(data))
    round_.hub.state = round_.hub.state.model_copy(update={"masked_sha256": {}, "survivors": None})
    assert "have masked another update" in str(refusal(lambda: round_.turn("ada")))


def test_a_site_that_has_lost_its_disk_is_told_how_to_keep_it(tmp_path):
    round_ = at_step(tmp_path, "Mask")
    (state,) = tmp_path.glob("ada/state/*/ada/*/secure.json")
    state.unlink()
    error = refusal(lambda: round_.turn("ada"))
    assert error.code == securing.STATE_LOST
    assert "a volume in the FLClient's spec.state keeps it" in str(error)


def test_values_beyond_the_range_are_told_before_anything_is_said(tmp_path):
    round_ = MaskedRound(tmp_path, SAMPLES)
    round_.updates["ada"]["weight"][0, :3] = (9.0, -9.0, 8.0)
    error = refusal(lambda: round_.turn("ada"))
    assert str(error) == (
        f"ValueOutOfRange: 2 of {ITEMS} values are larger than 8: raise privacy.secureAggregation.valueRange, set overflow: Clip, "
        "or lower training.optimizer.learningRate"
    )
    assert round_.hub.said == []


def test_values_beyond_the_range_are_clipped_and_counted_where_the_job_says_so(tmp_path):
    round_ = MaskedRound(tmp_path, SAMPLES, overflow="Clip")
    round_.updates["ada"]["weight"][0, :3] = (9.0, -1e9, 8.0)
    round_.run()
    assert {name: each.payloads[UPDATE].clipped for name, each in round_.hub.manifests.items()} == {
        name: 2 if name == "ada" else 0 for name in SAMPLES
    }
    round_.updates["ada"]["weight"][0, :3] = (8.0, -8.0, 8.0)
    assert_is_plain_mean(round_)


def test_an_update_of_another_model_is_not_masked(tmp_path):
    round_ = MaskedRound(tmp_path, SAMPLES)
    round_.order = round_.ordered(1, items=ITEMS + 1)
    assert "the order is about 1241 values, the update has 1240" in str(refusal(lambda: round_.turn("ada")))


def test_a_site_without_a_key_is_told_the_way_out(tmp_path):
    round_ = MaskedRound(tmp_path, SAMPLES)
    with pytest.raises(BadSettingsError, match=r"spec\.identity\.keys"):
        round_.turn("ada", signing_key_dir=None)


# A hub that does not keep to the protocol. What a site says to it is in the state that it has kept, and stays so.


def at_step(tmp_path, step: str, **round_) -> MaskedRound:
    """A round that is at that step for all sites."""
    return masked_round.at_step(MaskedRound(tmp_path, SAMPLES, **round_), step)


@pytest.mark.parametrize("change", ["job_uid", "round", "attempt", "base_sha256"])
def test_terms_of_another_order(tmp_path, change):
    round_ = MaskedRound(tmp_path, SAMPLES)
    other = {"job_uid": "22222222-2222-4222-8222-222222222222", "round": 5, "attempt": 2, "base_sha256": "0" * 64}
    terms = round_.order.secure.terms.model_copy(update={change: other[change]})
    round_.order = round_.order.model_copy(update={"secure": round_.order.secure.model_copy(update={"terms": terms})})
    assert "those of another order" in str(refusal(lambda: round_.turn("ada")))


def test_a_roster_that_is_another_one_in_the_same_attempt(tmp_path):
    round_ = MaskedRound(tmp_path, SAMPLES)
    round_.turn("ada")
    smaller = {name: key.raw for name, key in round_.keys.items() if name != "bob"}
    round_.order = round_.ordered(1, roster=smaller)
    assert "other terms than before for the same attempt" in str(refusal(lambda: round_.turn("ada")))


def test_a_roster_with_another_key_of_a_site(tmp_path):
    round_ = MaskedRound(tmp_path, SAMPLES)
    round_.turn("ada")
    roster = {name: key.raw for name, key in round_.keys.items()} | {"bob": b"\1" * 32}
    round_.order = round_.ordered(2, roster=roster)
    assert "site 'bob' has another key than when this site saw it first" in str(refusal(lambda: round_.turn("ada")))


def test_a_roster_with_another_key_of_the_site_itself(tmp_path):
    round_ = MaskedRound(tmp_path, SAMPLES)
    round_.order = round_.ordered(1, roster={name: key.raw for name, key in round_.keys.items()} | {"ada": b"\1" * 32})
    assert "another key of this site, 'ada', than it signs by" in str(refusal(lambda: round_.turn("ada")))


def test_a_roster_with_a_site_that_the_owner_does_not_know(tmp_path):
    round_, peers = MaskedRound(tmp_path, SAMPLES), tmp_path / "peers"
    peers.mkdir()
    for name, key in round_.keys.items():
        (peers / name).write_text(f"{base64.b64encode(bytes(32)).decode()}\n{key.public_key}\n")
    assert not round_.turn("ada", peer_keys_dir=peers)
    (peers / "emil").unlink()
    round_.order = round_.ordered(2)
    error = refusal(lambda: round_.turn("ada", peer_keys_dir=peers))
    assert "the key of site 'emil' in the order is not in" in str(error)
    assert "spec.identity.peers" in str(error)


def changed(order, **said):
    return order.model_copy(update=said)


def from_another_model(order):
    """That the hub says is an encoding of the same committed one, or a delta to it."""
    reference = Reference(base_sha256=order.base_sha256)
    return changed(order, model=changed(order.model, sha256="b" * 64), reference=reference)


NOISE = Mechanism(
    mode="Distributed", clip_norm=1.0, clipping="Flat", noise_multiplier=1.0, delta=1e-5, denominator=len(SAMPLES)
)


@pytest.mark.parametrize(
    "told_to_one",
    [
        from_another_model,
        lambda order: changed(order, initial=order.model),
        lambda order: changed(order, training=changed(order.training, optimizer=OptimizerSettings(learning_rate=1e-9))),
        lambda order: changed(order, training=changed(order.training, local_parameters=("weight",))),
        lambda order: changed(order, secure=changed(order.secure, tensors=("half", "weight", "wide"))),
        lambda order: changed(order, secure=changed(order.secure, privacy=NOISE)),
        lambda order: changed(
            order, secure=changed(order.secure, terms=changed(order.secure.terms, order_sha256=None))
        ),
    ],
)
def test_an_order_that_is_not_that_of_all_sites(tmp_path, told_to_one):
    """A hub that has all but one do nothing would learn what that one did, from the sum."""
    round_ = MaskedRound(tmp_path, SAMPLES)
    error = refusal(lambda: round_.turn("ada", told_to_one(round_.order)))
    assert error.code == securing.PROTOCOL_BROKEN
    assert "do not say that other sites were ordered the same" in str(error)


def test_noise_of_one_sum_for_sums_of_groups(tmp_path):
    round_ = MaskedRound(tmp_path, SAMPLES)
    secure = round_.order.secure
    terms = changed(secure.terms, groups=Groups(size=3, minimum=3))
    error = refusal(
        lambda: round_.turn("ada", changed(round_.order, secure=changed(secure, terms=terms, privacy=NOISE)))
    )
    assert error.code == securing.PROTOCOL_BROKEN
    assert "noise of one sum, and for sums of groups" in str(error)
    assert not round_.hub.said


def test_a_site_that_trains_longer_than_others_takes_part(tmp_path):
    """clients.overrides."""
    round_ = MaskedRound(tmp_path, SAMPLES)
    longer = TrainingOverride(batch_size=7, local_steps=30).of(round_.order.training)
    assert not round_.turn("ada", changed(round_.order, training=longer))
    assert [name for name, said in round_.hub.said if said.advertisement] == ["ada"]


def test_the_keys_of_others_are_remembered_after_what_the_hub_calls_the_end_of_the_job(tmp_path):
    round_ = MaskedRound(tmp_path, SAMPLES)
    round_.turn("ada")
    with closing(CheckpointStore(round_.settings("ada"))) as checkpoints:
        checkpoints.clear()
    roster = {**round_.order.secure.terms.roster, "emil": SigningKey.generated().raw}
    error = refusal(lambda: round_.turn("ada", round_.ordered(2, roster=roster)))
    assert "site 'emil' has another key than when this site saw it first" in str(error)


def test_participants_that_are_others_than_before(tmp_path):
    round_ = at_step(tmp_path, "Share")
    round_.turn("ada")
    fewer = round_.hub.state.participants.advertisements[:-1]
    round_.hub.state = round_.hub.state.model_copy(update={"shares": {}})
    participants = round_.hub.state.participants.model_copy(update={"advertisements": fewer})
    assert "other participants were named before" in str(asked_again(round_, "ada", participants=participants))


def test_different_participants_for_different_sites(tmp_path):
    """Their masks are of other keys, so nothing of the two halves cancels, and no signature of the one holds at the other."""
    round_ = at_step(tmp_path, "Share")
    whole = round_.hub.state.participants
    shown = whole.model_copy(update={"advertisements": whole.advertisements[:4]})
    round_.hub.tamper = lambda name, answer: (
        answer.model_copy(update={"participants": shown}) if name == "ada" and answer.step == "Share" else answer
    )
    with pytest.raises(Exception, match="participant of another attempt"):
        round_.turn("ada")


def test_an_advertisement_that_nobody_signed(tmp_path):
    round_ = at_step(tmp_path, "Share")
    whole = round_.hub.state.participants
    forged = whole.advertisements[1].model_copy(update={"mask_key": bytes(31) + b"\t"})
    participants = whole.model_copy(
        update={"advertisements": (whole.advertisements[0], forged, *whole.advertisements[2:])}
    )
    assert "the advertisement of site 'bob' is not signed" in str(asked_again(round_, "ada", participants=participants))


def test_an_advertisement_of_an_earlier_attempt(tmp_path):
    first = at_step(tmp_path / "first", "Share") if (tmp_path / "first").mkdir() is None else None
    replayed = first.hub.state.participants.advertisements[1]
    first.order = first.ordered(2)
    first.hub = Hub(first.order.secure.terms)
    [first.turn(name) for name in SAMPLES if name != "bob"]
    first.turn("bob")
    whole = hub.participants(first.hub.state)[1]
    others = (whole.advertisements[0], replayed, *whole.advertisements[2:])
    shown = whole.model_copy(update={"advertisements": others})
    first.hub.state = first.hub.state.model_copy(update={"shares": {}})
    assert "the advertisement of site 'bob' is not signed by its key for these terms" in str(
        asked_again(first, "ada", step="Share", participants=shown)
    )


def test_fewer_samples_as_the_whole_than_the_site_has(tmp_path):
    """By which its update would count for more than it announced, or others for less."""
    round_ = at_step(tmp_path, "Share")
    participants = round_.hub.state.participants.model_copy(update={"whole_samples": 100})
    assert "the hub names 100 samples as the most, this site has 120" in str(
        asked_again(round_, "bob", participants=participants)
    )


def test_other_shares_than_before(tmp_path):
    round_ = at_step(tmp_path, "Mask")
    round_.turn("ada")
    state = round_.hub.state
    delivery = hub.deliveries(state)[1]["ada"]
    fewer = delivery.model_copy(
        update={"sharers": delivery.sharers[:-1], "sealed": {k: v for k, v in delivery.sealed.items() if k != "emil"}}
    )
    round_.hub.state = state.model_copy(update={"masked_sha256": {}})
    assert "other shares were delivered before" in str(asked_again(round_, "ada", delivery=fewer))


def test_a_survivor_set_that_shrinks(tmp_path):
    round_ = at_step(tmp_path, "Consent")
    round_.turn("ada")
    signed = round_.hub.state.survivors
    left = dict(list(signed.survivors.items())[:3])
    round_.hub.state = round_.hub.state.model_copy(update={"consents": {}})
    smaller = SurvivorSet(participants_sha256=signed.participants_sha256, sharers=signed.sharers, survivors=left)
    assert "another survivor set was signed before" in str(asked_again(round_, "ada", survivors=smaller))


def test_a_survivor_set_below_the_threshold(tmp_path):
    round_ = at_step(tmp_path, "Consent")
    signed = round_.hub.state.survivors
    two = signed.model_copy(update={"survivors": dict(list(signed.survivors.items())[:2])})
    assert "2 survivors are below the 3" in str(asked_again(round_, "ada", survivors=two))


def test_a_survivor_set_with_another_update_of_the_site(tmp_path):
    round_ = at_step(tmp_path, "Consent")
    signed = round_.hub.state.survivors
    other = signed.model_copy(update={"survivors": {**signed.survivors, "ada": "0" * 64}})
    assert "the survivor set has not what this site sent" in str(asked_again(round_, "ada", survivors=other))


@pytest.mark.parametrize("both", [("ada", "bob"), ("emil",)])
def test_both_kinds_of_shares(tmp_path, both):
    """The seed and the mask key of one site together give its update."""
    round_ = at_step(tmp_path, "Open")
    request = round_.hub.state.request.model_copy(update={"mask_keys_of": both})
    assert "asks for other shares than those of the survivor set" in str(asked_again(round_, "cleo", request=request))


def test_consents_that_are_not_enough_or_not_of_this_set(tmp_path):
    round_ = at_step(tmp_path, "Open")
    request = round_.hub.state.request
    few = request.model_copy(update={"consents": request.consents[:2]})
    assert "2 consents are below the 3" in str(asked_again(round_, "cleo", request=few))
    forged = tuple(each.model_copy(update={"signature": bytes(64)}) for each in request.consents)
    assert "did not sign the survivor set" in str(
        asked_again(round_, "cleo", request=request.model_copy(update={"consents": forged}))
    )


@pytest.mark.parametrize(
    ("step", "asked"),
    [("Advertise", "Mask"), ("Advertise", "Consent"), ("Share", "Consent"), ("Share", "Open"), ("Mask", "Open")],
)
def test_steps_out_of_turn(tmp_path, step, asked):
    """What a hub has from a later round of words it brings along; the site has not come so far."""
    later, now = at_step(_made(tmp_path / "later"), "Open"), at_step(_made(tmp_path / "now"), step)
    state = later.hub.state
    brought = {"delivery": hub.deliveries(state)[1]["ada"], "survivors": state.survivors, "request": state.request}
    error = asked_again(now, "ada", step=asked, **brought)
    assert error.code == securing.PROTOCOL_BROKEN


@pytest.mark.parametrize("step", ["Share", "Mask", "Consent", "Open"])
def test_a_step_without_what_it_needs(tmp_path, step):
    nothing = dict.fromkeys(("participants", "delivery", "survivors", "request"))
    round_ = at_step(tmp_path, step)
    assert asked_again(round_, "ada", **nothing).code == securing.PROTOCOL_BROKEN


def test_a_hub_that_was_refused_gets_the_same_words_once_it_keeps_to_the_protocol(tmp_path):
    round_ = at_step(tmp_path, "Open")
    asked_again(round_, "cleo", request=round_.hub.state.request.model_copy(update={"mask_keys_of": ("ada",)}))
    round_.hub.tamper = lambda _site, answer: answer
    round_.run()
    assert_is_plain_mean(round_)


def test_a_masked_update_looks_like_any_bytes(tmp_path, monkeypatch):
    """Chi-square of its bytes against the uniform distribution, of two sites with the same update."""
    masked_round.seeded(monkeypatch)
    round_ = MaskedRound(tmp_path, SAMPLES)
    round_.updates["bob"] = round_.updates["ada"] = {name: value * 0 for name, value in round_.updates["ada"].items()}
    round_.run()
    sent = [round_.hub.store.get(round_.hub.manifests[name].payloads[UPDATE].object.key) for name in ("ada", "bob")]
    assert sent[0] != sent[1]
    for data in sent:
        counts = np.bincount(np.frombuffer(data, np.uint8), minlength=256)
        expected = len(data) / 256
        assert ((counts - expected) ** 2 / expected).sum() < 380  # of 255 degrees of freedom: once in a million
    assert np.abs(mean_of(round_)["weight"]).max() < 8


def _made(path):
    path.mkdir()
    return path


def test_a_site_whose_disk_was_lost_is_told_before_it_trains_again(tmp_path):
    round_ = MaskedRound(tmp_path, SAMPLES)
    link = Link(round_.hub, "bob")

    def check(settings):
        with closing(CheckpointStore(settings)) as checkpoints:
            securing.check_not_lost(link, round_.order, checkpoints.order(round_.order))

    fresh = round_.settings("bob", state_dir=tmp_path / "new pod")
    check(fresh)  # before its first word there is nothing to lose
    round_.turn("bob")
    check(round_.settings("bob"))
    lost = refusal(lambda: check(fresh))
    assert lost.code == "SecureStateLost"
    assert "spec.state keeps it" in str(lost)


def test_a_masked_update_with_noise_is_counted_before_it_leaves_and_one_too_many_never_does(tmp_path):
    """A site that allows for less than one sum tells its keys and shares, which tell nothing, and hands nothing in."""
    demand = PrivacyDemand(secure_aggregation=True, max_epsilon=0.001, delta=1e-5)
    round_ = MaskedRound(tmp_path, SAMPLES, privacy=NOISE, weighs=False)
    round_.hub.held = "Mask"
    for _ in range(2):
        for name in SAMPLES:
            round_.turn(name)
    round_.hub.held = ""
    with pytest.raises(NotPrivateError, match="one more would make epsilon"):
        round_.turn("bob", requires_privacy=demand.model_dump_json())
    assert "bob" not in round_.hub.manifests
    round_.turn("ada")
    (counted,) = json.loads(next((tmp_path / "ada").rglob("releases.json")).read_bytes())["masked"]
    assert (counted["round"], counted["attempt"]) == (4, 1)
    assert "ada" in round_.hub.manifests
    assert not list((tmp_path / "bob").rglob("releases.json"))
