"""Sites that have spent their budget of DP-SGD: selected no more, until another training is asked for; what a job without them does."""

import pytest

from fedaggregator.status import status
from fedapi.wire.privacy import DPSGD
from fedapi.wire.store import Head
from fedapi.wire.strategy import StrategySettings
from fedapi.wire.training import TrainingOverride, TrainingSettings
from fedcore.rounds import machine, modes, recovery
from fedcore.rounds.effects import WriteFailure
from fedcore.rounds.events import Accepted, Configured, Folded, Heard, SiteFailed, Ticked
from fedcore.rounds.recovery import Log
from fedcore.rounds.state import Phase
from tests.unit.fedcore.rounds import test_round_rules as rules

ASKED = DPSGD(max_grad_norm=1.0, target_epsilon=3.0, delta=1e-3, rounds=4)
PRIVATE = TrainingSettings(dp_sgd=ASKED)
FEDBUFF = StrategySettings(name="FedBuff", parameters={"buffer_size": 2})


def collecting(clients="abc", **values):
    """No failed attempt is allowed for, so that each one that would count ends the job."""
    return rules.collecting(clients, **{"training": PRIVATE, "rounds": 4, "max_failures": 0} | values)


def step(state, event):
    return modes.mode(state.config.strategy.name).step(state, event)


def spent(state, client, reason="PrivacyBudgetSpent"):
    plan = state.current.plan
    return step(state, SiteFailed(15.0, client, plan.round, plan.attempt, reason, "epsilon 2.9 of 3"))


def folded(state, *clients):
    for client in clients:
        state, _ = step(state, Accepted(20.0, rules.manifest(state, client)))
    assert state.phase is Phase.FOLDING
    plan = state.current.plan
    return step(state, Folded(30.0, plan.round, plan.attempt, rules.ref(rules.B)))[0]


def states(state):
    return {each["name"]: each["state"] for each in status(state)["clients"]}


@pytest.mark.parametrize("strategy", [StrategySettings(), FEDBUFF], ids=["synchronous", "asynchronous"])
def test_a_site_that_says_so_is_selected_no_more(strategy):
    state, _ = spent(collecting(quorum="50%", strategy=strategy), "c")
    assert states(state)["c"] == "BudgetSpent"
    for _ in range(2):
        state = folded(state, "a", "b")
        assert state.current.plan.selected == ("a", "b")
    told = status(state)["clients"]
    assert (told[0]["name"], told[0]["failures"]) == ("c", 1), "it was asked once"
    assert told[0]["message"] == "PrivacyBudgetSpent: epsilon 2.9 of 3"


def test_attempts_that_fail_for_it_are_no_failures_of_the_round():
    state = collecting(quorum="100%")
    for client, left in (("a", ("b", "c")), ("b", ("c",))):
        state, effects = spent(state, client)
        assert [each.failure.reason for each in effects if isinstance(each, WriteFailure)] == ["PrivacyBudgetSpent"]
        assert state.current.plan.selected == left
    state, _ = spent(state, "c", reason="TrainingDiverged")
    assert (state.end.result, state.end.reason) == ("Failed", "QuorumNotReached"), "and others are"


def test_a_restart_counts_the_same():
    state = collecting(quorum="100%")
    tip = state.tip
    state, effects = spent(state, "a")
    failures = tuple(each.failure for each in effects if isinstance(each, WriteFailure))
    again, _ = recovery.recovered(state.config, Log(Head(epoch=2, round=0), (tip,), failures=failures), 50.0)
    again, _ = machine.step(again, Ticked(51.0))
    assert (again.end, again.current.plan.selected) == (None, ("a", "b", "c")), "they are asked once more"


@pytest.mark.parametrize("strategy", [StrategySettings(), FEDBUFF], ids=["synchronous", "asynchronous"])
def test_too_few_that_are_left_end_the_job_with_the_model_of_the_last_round(strategy):
    state = folded(collecting("ab", quorum=2, strategy=strategy), "a", "b")
    state, _ = spent(state, "a")
    assert (state.phase, status(state)["round"]["committed"]) == (Phase.EVALUATING, 1)
    state, _ = step(state, Ticked(1e6))
    assert (state.end.result, state.end.reason) == ("Succeeded", "PrivacyBudgetSpent")
    assert state.end.message == (
        "1 of 2 sites have spent privacy.dpSGD.targetEpsilon 3 (a), and a round needs 2: for more rounds make a new job with a higher one"
    )


def test_where_there_is_no_such_model_it_fails():
    state, _ = spent(collecting("ab"), "a")
    state, _ = spent(state, "b")
    assert (state.end.result, state.end.reason) == ("Failed", "PrivacyBudgetSpent")
    assert "2 of 2 sites have spent" in state.end.message


def test_a_job_without_its_root_client_is_over():
    root = StrategySettings(name="FLTrust", root="b")
    state, _ = spent(folded(collecting(strategy=root), "a", "b", "c"), "b")
    state, _ = step(state, Ticked(1e6))
    assert "each round needs that of the root client 'b'" in state.end.message


def test_sites_that_may_come_back_are_waited_for():
    state = folded(collecting("ab"), "a", "b")
    away = tuple(
        each.model_copy(update={"eligible": each.name != "b", "reason": "Paused"}) for each in state.config.roster
    )
    state, _ = step(state, Configured(31.0, state.config.model_copy(update={"roster": away})))
    state, _ = spent(state, "a")
    state, _ = step(state, Ticked(1e3))
    assert (state.phase, state.end) == (Phase.WAITING, None)
    state, _ = step(state, Configured(1e4, state.config.model_copy(update={"roster": rules.config("ab").roster})))
    state, _ = step(state, Heard(1e4, ("b",)))
    assert state.current.plan.selected == ("b",)


@pytest.mark.parametrize(
    "changed",
    [
        {"training": PRIVATE.model_copy(update={"dp_sgd": ASKED.model_copy(update={"target_epsilon": 9.0})})},
        {"training": PRIVATE.model_copy(update={"batch_size": 4})},
        {"training": TrainingSettings()},
        {"overrides": (TrainingOverride(batch_size=4),)},
    ],
)
def test_another_training_is_asked_for_again(changed):
    state, _ = spent(collecting(quorum="50%"), "c")
    state = folded(state, "a", "b")
    config = state.config.model_copy(update=changed)
    if "overrides" in changed:
        roster = tuple(each.model_copy(update={"override": 0}) for each in config.roster)
        config = config.model_copy(update={"roster": roster})
    state, _ = step(state, Configured(31.0, config))
    assert folded(state, "a", "b").current.plan.selected == ("a", "b", "c")


def test_without_dp_sgd_it_is_a_failure_as_any():
    state, _ = spent(collecting(quorum="50%", training=TrainingSettings()), "c")
    assert folded(state, "a", "b").current.plan.selected == ("a", "b", "c")
