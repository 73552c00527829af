"""Rounds whose updates are summed under masks: kills of the hub, what fails closed, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from fedapi.wire.plan import PlanRecord
from fedapi.wire.protocol import FEATURES, PROTOCOL
from fedapi.wire.secagg import Opening
from fedapi.wire.secureround import StepRecord
from fedapi.wire.store import CloseRecord, FailureRecord
from fedapi.wire.update import UpdateManifest
from fedcore.rounds import admission, assignment, planning, secureplan
from fedcore.rounds.compatibility import Speech
from fedcore.rounds.events import Accepted, Configured, Heard, Restarted, UpdatesDamaged
from fedcore.rounds.exchange import Exchange
from fedcore.rounds.state import Phase
from fedcore.secagg import site
from tests.unit.fedcore.rounds.masked_round import (
    STEPS,
    Federation,
    attempt,
    config,
    key_of,
    plain_sum,
    samples,
    settings,
)
from tests.unit.fedcore.secagg.federation import signing_key

SPEECH = Speech(PROTOCOL, PROTOCOL, frozenset({*FEATURES, "signatures"}))


def test_a_round_without_losses_gives_the_sum_and_commits_all():
    federation = Federation().start()
    plan = federation.state.current.plan
    assert (plan.secure.threshold, plan.secure.minimum_cohort, plan.quorum) == (4, 3, 4)
    attempt(federation, {})
    assert np.array_equal(federation.total(), plain_sum("abcde"))
    assert [each.client for each in federation.commit().participants] == list("abcde")
    assert federation.state.current.plan.round == 2
    attempt(federation, {})
    assert np.array_equal(federation.total(), plain_sum("abcde", 2))


@pytest.mark.parametrize("killed", [frozenset({at}) for at in range(5)] + [frozenset(range(5))])
def test_a_hub_that_is_killed_in_a_step_gives_the_same_sum(killed):
    lost = {"a": STEPS.index("Mask")}
    undisturbed, federation = Federation().start(), Federation().start()
    attempt(undisturbed, lost)
    attempt(federation, lost, killed)
    assert federation.epoch > 1
    assert np.array_equal(federation.total(), undisturbed.total())
    assert np.array_equal(federation.total(), plain_sum("bcde"))
    assert federation.folds[-1].terms == undisturbed.folds[-1].terms
    assert federation.state.phase is Phase.FOLDING


def test_an_attempt_below_the_threshold_is_recorded_and_the_next_has_new_keys():
    federation = Federation().start()
    first = federation.state.current.plan
    attempt(federation, {"a": 2, "b": 2})
    (failure,) = federation.of(FailureRecord)
    assert failure.reason == "SecureAggregationFailed"
    assert "3 masked updates are below the 4" in failure.message
    assert "a: it was too late" in failure.message
    assert not federation.of(CloseRecord)
    second = federation.of(PlanRecord)[-1]
    assert (first.attempt, second.attempt) == (1, 2)
    attempt(federation, {})
    assert np.array_equal(federation.total(), plain_sum("abcde"))
    used = [state.terms.context() for state in federation.sites.values()]
    assert len(set(used)) == 2


def up_to(step: str) -> Federation:
    """A federation whose attempt has come to that step, in which nobody has done anything yet."""
    federation = Federation().start()
    for _ in STEPS[: STEPS.index(step)]:
        for name in "abcde":
            federation.go_on(name)
    assert federation.step == step
    return federation


def test_a_site_that_fails_is_waited_for_no_longer_in_any_step():
    for step in STEPS:
        federation = up_to(step)
        federation.fail("c")
        for name in "abde":
            assert federation.go_on(name) == step
        assert federation.state.phase is Phase.FOLDING or federation.step != step
        assert federation.answer("c").step == "Over"
        assert "TaskFailed" in federation.state.site("c").message


def test_a_site_without_its_process_is_waited_for_no_longer():
    federation = up_to("Consent")
    roster = tuple(
        entry.model_copy(update={"eligible": entry.name != "e", "reason": "Gone"}) for entry in federation.config.roster
    )
    roster = tuple(entry.model_copy(update={"reason": ""}) if entry.eligible else entry for entry in roster)
    federation.do(Configured(federation.now, federation.config.model_copy(update={"roster": roster})))
    for name in "abcd":
        federation.go_on(name)
    assert federation.step == "Open"


@pytest.mark.parametrize("step", ["Advertise", "Share"])
def test_a_masked_update_is_not_taken_before_its_step(step):
    federation = up_to(step)
    refused = admission.update(federation.state, "a", federation.manifest("a", "f" * 64))
    assert refused.code == "NotSelected"
    assert f"is told {step}" in refused.message


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"samples": 99}, "samples 99 are not the"),
        ({"masked": False}, "payloads.update.masked is false, and updates are summed under masks"),
        ({"clipped": 3}, "payloads.update.clipped is over 0, and overflow is Fail"),
        ({"size": 4 * 9}, "payloads.update.object.size is not 32, of 8 values under masks"),
        ({"codec": "Int8"}, "payloads.update.codec is Int8"),
    ],
)
def test_a_masked_update_is_what_the_order_says(values, words):
    federation = up_to("Mask")
    good = federation.manifest("a", "f" * 64)
    payload, ref_ = good.payloads["update"], good.payloads["update"].object
    changed = {name: value for name, value in values.items() if name in ("masked", "codec", "clipped")}
    size = values.get("size", ref_.size)
    payload = payload.model_copy(update={"object": ref_.model_copy(update={"size": size}), **changed})
    bad = good.model_copy(update={"payloads": {"update": payload}, "samples": values.get("samples", good.samples)})
    assert admission.update(federation.state, "a", good) is None
    refused = admission.update(federation.state, "a", bad)
    assert refused.code == "Malformed"
    assert words in refused.message


def test_clipped_values_are_told():
    federation = Federation(config(secure=settings(overflow="Clip"))).start()
    for name in 2 * "abcde":
        federation.go_on(name)
    good = federation.manifest("a", "f" * 64)
    payload = good.payloads["update"].model_copy(update={"clipped": 3})
    clipped = good.model_copy(update={"payloads": {"update": payload}})
    assert admission.update(federation.state, "a", clipped) is None
    federation.do(Accepted(federation.now, clipped))
    assert "3 values of its update of round 1 were larger" in federation.state.site("a").message


def test_what_breaks_the_protocol_is_refused_and_changes_nothing():
    federation = up_to("Share")
    shares = site.share(federation.site("a"), federation.answer("a").participants)[1]
    before = federation.state
    assert federation.say("b", shares=shares).code == "Unauthorized"
    forged = shares.model_copy(update={"sealed": {}})
    assert "did not share with its neighbours" in federation.say("a", shares=forged).message
    early = Opening(site="a", seeds={}, mask_keys={})
    assert "too early" in federation.say("a", opening=early).message
    assert federation.state.current.secure == before.current.secure
    assert isinstance(federation.say("a", shares=shares), Exchange)


def test_samples_are_bounded_and_said_once():
    federation = Federation(config(max_samples=5)).start()
    said = site.advertise(federation.site("a"), signing_key("a").sign)
    assert "maxSamples" in federation.say("a", advertisement=said, samples=6).message
    federation.say("a", advertisement=said, samples=4)
    assert "announced before" in federation.say("a", advertisement=said, samples=5).message
    assert federation.state.current.secure.samples == {"a": 4}


def test_who_is_late_in_training_is_told_to_drop_it_and_costs_no_masks():
    federation = Federation(config(quorum=4, grace_after_quorum_s=5.0)).start()
    for name in "abcd":
        federation.go_on(name)
    assert federation.step == "Advertise"
    federation.close_step()
    assert federation.step == "Share"
    assert assignment.kind(federation.state, "e", (1, 1)) == "Drop"
    assert federation.answer("e").step == "Over"
    for name in 4 * "abcd":
        federation.go_on(name)
    assert np.array_equal(federation.total(), plain_sum("abcd"))
    assert federation.commit().missed == ("e",)


def test_the_most_samples_count_whole():
    federation = up_to("Share")
    assert federation.answer("a").participants.whole_samples == max(map(samples, "abcde"))


def test_a_site_that_has_trained_loses_nothing_when_it_is_restarted():
    federation = Federation().start()
    for name in "abcd":
        federation.go_on(name)
    plan = federation.state.current.plan
    for name, lost_s in (("a", 0.0), ("e", 7.0)):
        federation.do(Restarted(federation.now, name, plan.round, plan.attempt, 7.0))
        assert federation.state.current.lost_s == lost_s


def test_a_masked_update_that_is_lost_fails_the_attempt():
    for killed in (False, True):
        federation = up_to("Open")
        if killed:
            federation.durable.remove(next(each for each in federation.of(UpdateManifest) if each.client == "b"))
            federation.kill()
        else:
            for name in "abcde":
                federation.go_on(name)
            key = federation.folds[-1].terms[1].payloads["update"].object.key
            federation.do(UpdatesDamaged(federation.now, 1, 1, {key: f"{key}: it is gone"}))
        (failure,) = federation.of(FailureRecord)
        assert failure.attempt == 1
        assert "b" in failure.message
        assert federation.state.current.plan.attempt == 2


def test_a_record_that_is_lost_takes_the_attempt_back_to_its_step():
    federation = up_to("Open")
    federation.durable.remove(next(each for each in federation.of(StepRecord) if each.step == "Consent"))
    federation.kill()
    assert federation.step == "Consent"
    for name in 2 * "abcde":
        federation.go_on(name)
    assert np.array_equal(federation.total(), plain_sum("abcde"))


def test_sites_without_a_key_of_their_own_take_no_part():
    keys = {name: (key_of(name),) for name in "abcd"} | {"f": (key_of("a"),)}
    identities = {name: keys.get(name, ()) for name in "abcdef"}
    federation = Federation(config("abcdef", quorum=3, identities=identities)).start()
    assert federation.state.current.plan.selected == ("a", "b", "c", "d")
    federation.do(Heard(federation.now, ("e",), {"e": SPEECH}))
    assert "spec.identity.keys" in planning.misfit(federation.state, "e")


def test_a_site_that_signs_by_another_key_than_planned_waits_for_the_next_attempt():
    identities = {**config().identities, "a": (key_of("z"), key_of("a"))}
    federation = Federation(config(identities=identities)).start()
    for client, key, words in (("a", "z", "it signs by another key"), ("b", "y", "not in spec.identity.keys")):
        other = replace(SPEECH, features=SPEECH.features | {f"key:{key_of(key).id}"})
        federation.do(Heard(federation.now, (client,), {client: other}))
        assert words in federation.state.site(client).message
        assert federation.answer(client).step == "Over"


@pytest.mark.parametrize("step", STEPS)
def test_a_site_whose_key_is_revoked_is_waited_for_no_longer_in_any_step(step):
    """What it signed before stays what it is."""
    federation = Federation().start()
    federation.do(
        Heard(federation.now, ("b",), {"b": replace(SPEECH, features=SPEECH.features | {f"key:{key_of('b').id}"})})
    )
    for at in STEPS:
        if at == step:
            identities = {**federation.config.identities, "b": (key_of("b").model_copy(update={"revoked": True}),)}
            federation.do(Configured(federation.now, federation.config.model_copy(update={"identities": identities})))
        for name in "abcde":
            if name != "b" or STEPS.index(at) < STEPS.index(step):
                assert federation.go_on(name) == at
    assert np.array_equal(federation.total(), plain_sum("acde" if step in STEPS[:3] else "abcde"))


def test_a_trainer_without_the_feature_gets_no_order():
    federation = Federation().start()
    plain = replace(SPEECH, features=SPEECH.features - {"secagg"})
    federation.do(Heard(federation.now, ("a",), {"a": plain}))
    assert "privacy.secureAggregation" in planning.misfit(federation.state, "a")


@pytest.mark.parametrize(
    ("sites", "values", "threshold"),
    [
        (5, {"quorum": "100%"}, 5),
        (5, {"quorum": "60%"}, 4),  # 3 of 5 with one colluding let a hub open two sums
        (5, {"quorum": "60%", "secure": settings(colluding=0)}, 3),
        (10, {"quorum": "100%", "secure": settings(threshold="70%")}, 7),
        (10, {"quorum": "100%", "secure": settings(threshold=8, colluding=2)}, 8),
        (10, {"quorum": 3, "secure": settings(threshold=3, colluding=4)}, 8),
        (3, {"quorum": 1}, 3),
    ],
)
def test_the_threshold_is_what_was_asked_for_or_more(sites, values, threshold):
    plan = Federation(config("abcdefghij"[:sites], **values)).start().state.current.plan
    assert plan.secure.threshold == threshold
    assert plan.quorum >= threshold
    secureplan.terms(plan, plan.secure)  # which checks that they are sound


def test_no_round_is_planned_with_fewer_sites_than_a_sum_needs():
    federation = Federation(config("ab", quorum=1)).start()
    assert federation.state.phase is Phase.WAITING
    assert planning.missing_sites(federation.state, federation.now) == 1
