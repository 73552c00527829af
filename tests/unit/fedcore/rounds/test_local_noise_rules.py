"""Rounds whose sites add the noise (mode Local): each update that a site was asked for is charged for, whatever became of it."""

import pytest

from fedaggregator.status import status
from fedapi.wire.job import RollbackTo
from fedapi.wire.privacy import Privacy
from fedapi.wire.protocol import FEATURES, SITE_NOISE
from fedapi.wire.store import Head
from fedcore.privacy.gaussian import epsilon_of
from fedcore.rounds import budget, compatibility, machine, recovery
from fedcore.rounds.compatibility import Speech
from fedcore.rounds.effects import Commit, Fold, WriteFailure, WritePlan
from fedcore.rounds.events import Configured, FoldFailed, RoundFound, Ticked
from fedcore.rounds.recovery import Log
from fedcore.rounds.state import Phase
from tests.unit.fedcore.rounds import test_round_rules as rules
from tests.unit.fedcore.rounds.test_privacy_rules import folded, run

DELTA = 1e-5


def local(**values) -> Privacy:
    return Privacy(mode="Local", clip_norm=1.0, delta=DELTA, **values)


def failing(**values):
    """A state whose first attempt came to nothing, though both sites have sent their updates."""
    state = rules.collecting("ab", max_failures=3, **values)
    for client in "ab":
        state, _ = rules.accept(state, client)
    return machine.step(state, FoldFailed(30.0, 1, 1, "ModelNotFinite", "x"))


def test_the_plan_says_what_the_sites_add_and_the_hub_adds_nothing():
    state = rules.collecting("ab", privacy=local(noise_multiplier=3.0))
    plan = state.current.plan
    assert plan.privacy is None
    assert (plan.site_noise.noise_multiplier, plan.site_noise.clip_norm, plan.site_noise.delta) == (3.0, 1.0, DELTA)
    state, _ = rules.accept(state, "a")
    state, effects = rules.accept(state, "b")
    (fold,) = (effect for effect in effects if isinstance(effect, Fold))
    assert fold.privacy is None


def test_a_target_is_met_by_the_last_round():
    state, commits = run(rules.collecting("ab", rounds=4, privacy=local(target_epsilon=3.0)))
    assert commits[-1].privacy.epsilon == pytest.approx(3.0, rel=1e-6)
    assert {(c.privacy.mode, c.privacy.adjacency, c.privacy.releases) for c in commits} == {("Local", "Replacement", 1)}
    assert (state.end.result, state.end.reason) == ("Succeeded", "RoundsCompleted")
    told = status(state)["privacy"]
    assert (told["mode"], told["unit"], told["epsilon"]) == ("Local", "Site", "3.0000")


def test_an_attempt_that_comes_to_nothing_costs_as_much_as_any():
    state, effects = failing(privacy=local(noise_multiplier=4.0))
    assert next(e.failure for e in effects if isinstance(e, WriteFailure)).site_noise.noise_multiplier == 4.0
    assert next(e.plan for e in effects if isinstance(e, WritePlan)).attempt == 2
    assert budget.spent(state).squares == pytest.approx(2 * 0.25), "the second may have been sent already"
    state, commit = folded(state)
    assert (commit.privacy.releases, commit.privacy.mu**2) == (2, pytest.approx(0.5))
    assert commit.privacy.epsilon == pytest.approx(epsilon_of(0.5**0.5, DELTA))
    assert state.account.squares == pytest.approx(0.5)


def test_attempts_may_spend_the_budget_before_there_is_a_model():
    state, effects = failing(privacy=local(noise_multiplier=1.0, target_epsilon=11.0))
    assert not [effect for effect in effects if isinstance(effect, WritePlan)]
    for _ in range(3):
        state, _ = machine.step(state, Ticked(1e6))
    assert (state.end.result, state.end.reason) == ("Failed", "PrivacyBudgetSpent")
    assert float(status(state)["privacy"]["epsilon"]) == pytest.approx(epsilon_of(2.0, DELTA), abs=1e-4)


def test_a_restart_forgets_no_attempt():
    state, effects = failing(rounds=5, privacy=local(noise_multiplier=4.0))
    failure = next(e.failure for e in effects if isinstance(e, WriteFailure))
    plan = next(e.plan for e in effects if isinstance(e, WritePlan))
    log = Log(Head(epoch=2, round=0), (state.tip,), failures=(failure,), plans=(plan,))
    again = recovery.recovered(state.config, log, 50.0)[0]
    assert budget.spent(again) == budget.spent(state)
    state, one = folded(state)
    again = recovery.recovered(state.config, Log(Head(epoch=2, round=1), (again.tip, one)), 60.0)[0]
    assert again.account == state.account


def test_going_back_charges_for_the_round_that_it_makes_void():
    first = rules.collecting("ab", rounds=5, privacy=local(noise_multiplier=4.0))
    state, _ = folded(first)
    asked = RollbackTo(round=0)
    config = state.config.model_copy(update={"rollback_to": asked})
    state, _ = machine.step(state, Configured(40.0, config))
    state, effects = machine.step(state, RoundFound(41.0, asked, first.tip, {}))
    (back,) = (effect.commit for effect in effects if isinstance(effect, Commit))
    assert back.rolled_back_to == 0
    assert back.privacy.releases == 1
    assert back.privacy.epsilon == pytest.approx(epsilon_of(0.5**0.5, DELTA))


def test_a_trainer_that_adds_no_noise_gets_no_order():
    config = rules.collecting("ab", privacy=local(noise_multiplier=1.0)).config
    able, unable = (Speech(2, 2, frozenset(FEATURES) - less) for less in (frozenset(), {SITE_NOISE}))
    plan = rules.collecting("ab", privacy=local(noise_multiplier=1.0)).current.plan
    for work in (config, plan):
        assert compatibility.misfit(able, work) == ""
        assert "privacy.differentialPrivacy.mode Local" in compatibility.misfit(unable, work)
    assert compatibility.misfit(unable, rules.collecting("ab").config) == ""


def test_records_without_it_are_what_they_were():
    state, effects = failing()
    assert b"site_noise" not in next(e.failure for e in effects if isinstance(e, WriteFailure)).canonical()
    assert b"site_noise" not in state.current.plan.canonical()
    assert state.phase is Phase.COLLECTING
