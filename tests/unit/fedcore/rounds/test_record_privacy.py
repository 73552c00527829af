"""Rounds of sites that train by DP-SGD: what they say of a record is asked for, kept and told, and survives the aggregator."""

import pytest

from fedaggregator.status import status
from fedapi.wire.privacy import DPSGD, RecordPrivacy
from fedapi.wire.protocol import DP_SGD, FEATURES, PROTOCOL
from fedapi.wire.store import Head
from fedapi.wire.training import TrainingSettings
from fedcore.rounds import admission, claims, compatibility, machine, recovery
from fedcore.rounds.compatibility import Speech
from fedcore.rounds.effects import Commit, WriteFailure
from fedcore.rounds.events import Accepted, Folded, Ticked
from fedcore.rounds.recovery import Log
from tests.unit.fedcore.rounds import test_round_rules as rules

ASKED = DPSGD(max_grad_norm=1.0, target_epsilon=8.0, delta=1e-3, rounds=3)
PRIVATE = TrainingSettings(dp_sgd=ASKED)


def collecting():
    return rules.collecting("ab", training=PRIVATE)


def said(state, client, epsilon, delta=1e-3):
    told = None if epsilon is None else RecordPrivacy(epsilon=epsilon, delta=delta)
    return rules.manifest(state, client).model_copy(update={"privacy": told})


def committed(state, **epsilons):
    for client, epsilon in epsilons.items():
        state, _ = machine.step(state, Accepted(20.0, said(state, client, epsilon)))
    plan = state.current.plan
    state, effects = machine.step(state, Folded(30.0, plan.round, plan.attempt, rules.ref(rules.B)))
    return state, next(each.commit for each in effects if isinstance(each, Commit))


@pytest.mark.parametrize(
    ("training", "epsilon", "delta", "words"),
    [
        (PRIVATE, None, 1e-3, "privacy is not said, but round 1 trains by DP-SGD with delta 0.001"),
        (PRIVATE, 1.0, 1e-2, "privacy is of delta 0.01, but round 1 trains by DP-SGD with delta 0.001"),
        (TrainingSettings(), 1.0, 1e-3, "privacy is of delta 0.001, but no DP-SGD is asked for"),
    ],
)
def test_an_update_says_what_the_plan_asks_for(training, epsilon, delta, words):
    state = rules.collecting("ab", training=training)
    refusal = admission.update(state, "a", said(state, "a", epsilon, delta))
    assert refusal.code == "Malformed"
    assert words in refusal.message


def test_what_sites_say_is_in_the_commit_and_the_largest_in_the_status():
    state = collecting()
    assert admission.update(state, "a", said(state, "a", 1.25)) is None
    state, commit = committed(state, a=1.25, b=2.5)
    assert {each.client: each.privacy.epsilon for each in commit.participants} == {"a": 1.25, "b": 2.5}
    told = status(state)
    assert told["recordPrivacy"] == {
        "unit": "Record",
        "epsilon": "2.5000",
        "delta": "0.001",
        "targetEpsilon": "8",
        "site": "b",
    }
    assert {each["name"]: each["recordEpsilon"] for each in told["clients"]} == {"a": "1.2500", "b": "2.5000"}
    assert "privacy" not in told, "that is of sites"


def test_an_aggregator_that_starts_again_knows_it():
    state, commit = committed(collecting(), a=1.25, b=2.5)
    again, _ = recovery.recovered(state.config, Log(Head(epoch=2, round=1), (rules.collecting("ab").tip, commit)), 50.0)
    assert again.site("b").privacy == RecordPrivacy(epsilon=2.5, delta=1e-3)
    assert status(again)["recordPrivacy"]["epsilon"] == "2.5000"


def test_an_epsilon_never_goes_back():
    """A site's account was put back, or lost before its first commit: what an update has said stays told."""
    state = rules.collecting("ab", training=PRIVATE, max_failures=3)
    state, _ = machine.step(state, Accepted(20.0, said(state, "a", 3.0)))
    first = said(state, "a", 3.0)
    deadline = state.current.deadline_at
    state, effects = machine.step(state, Ticked(deadline))
    (failure,) = [each.failure for each in effects if isinstance(each, WriteFailure)]
    assert state.site("a").privacy.epsilon == 3.0
    tip = state.tip
    log = Log(Head(epoch=2, round=tip.round), (tip,), failures=(failure,), manifests=(first,))
    again, _ = recovery.recovered(state.config, log, 50.0)
    for each in (state, again):
        told = each.with_site(
            "a", claims.taken(each, first.model_copy(update={"privacy": RecordPrivacy(epsilon=1.0, delta=1e-3)}))
        )
        assert told.site("a").privacy.epsilon == 3.0
        assert status(told)["recordPrivacy"]["epsilon"] == "3.0000"


def test_an_aggregator_that_starts_again_knows_the_most_that_was_told():
    before = rules.collecting("ab", training=PRIVATE)
    state, first = committed(before, a=2.5, b=2.0)
    state, second = committed(state, a=1.25, b=3.0)
    chain = (before.tip, first, second)
    again, _ = recovery.recovered(state.config, Log(Head(epoch=2, round=2), chain), 90.0)
    older = recovery.did_earlier(recovery.did_earlier({}, second, counts=True), first, counts=True)
    for sites in (state.sites, again.sites, older):
        assert {name: sites[name].privacy.epsilon for name in "ab"} == {"a": 2.5, "b": 3.0}


def test_a_trainer_without_opacus_gets_no_such_order():
    speech = Speech(PROTOCOL, PROTOCOL, frozenset(FEATURES))
    config = rules.collecting("ab", training=PRIVATE).config
    why = compatibility.misfit(speech, config)
    assert "privacy.dpSGD, for which it needs opacus (fedloom[dpsgd])" in why
    assert compatibility.misfit(Speech(PROTOCOL, PROTOCOL, frozenset((*FEATURES, DP_SGD))), config) == ""
    assert compatibility.misfit(speech, config.model_copy(update={"training": TrainingSettings()})) == ""


def test_orders_without_it_are_what_they_were():
    assert "dp_sgd" not in TrainingSettings().model_dump(mode="json")
    assert "privacy" not in rules.manifest(collecting(), "a").model_dump(mode="json")
