"""Rounds with differential privacy: what plans freeze and commits charge, and how a job ends that has told enough."""

import math

import pytest

from fedaggregator.status import status
from fedapi.wire.commit import CommitRecord
from fedapi.wire.privacy import AdaptiveClipping, Charge, Privacy
from fedapi.wire.store import Head
from fedcore.privacy.account import Account
from fedcore.privacy.gaussian import epsilon_of
from fedcore.rounds import machine, recovery
from fedcore.rounds.effects import Commit, Fold, WritePlan
from fedcore.rounds.events import Folded, FoldFailed, Heard, Ticked
from fedcore.rounds.recovery import Log
from fedcore.rounds.state import Phase, State
from tests.unit.fedcore.rounds import test_round_rules as rules

DELTA = 1e-5


def asked(**values) -> Privacy:
    return Privacy(mode="Central", clip_norm=1.0, delta=DELTA, **values)


def folded(state: State, now: float = 30.0) -> tuple[State, CommitRecord]:
    for client in state.current.plan.selected:
        state, _ = rules.accept(state, client)
    assert state.phase is Phase.FOLDING
    plan = state.current.plan
    state, effects = machine.step(state, Folded(now, plan.round, plan.attempt, rules.ref(rules.B)))
    return state, next(e.commit for e in effects if isinstance(e, Commit))


def run(state: State) -> tuple[State, list[CommitRecord]]:
    commits = []
    while state.phase is Phase.COLLECTING:
        state, commit = folded(state, 30.0 + len(commits))
        commits.append(commit)
    for _ in range(3):
        state, _ = machine.step(state, Ticked(1e6))
    return state, commits


def test_a_target_is_met_by_the_last_round():
    state, commits = run(rules.collecting("ab", rounds=4, privacy=asked(target_epsilon=3.0)))
    assert [commit.privacy.epsilon for commit in commits] == sorted(commit.privacy.epsilon for commit in commits)
    assert commits[-1].privacy.epsilon == pytest.approx(3.0, rel=1e-6)
    assert len({f"{commit.privacy.noise_multiplier:.6g}" for commit in commits}) == 1
    assert (state.end.result, state.end.reason) == ("Succeeded", "RoundsCompleted")
    told = status(state)["privacy"]
    assert told == {
        "mode": "Central",
        "unit": "Site",
        "epsilon": "3.0000",
        "delta": "1e-5",
        "targetEpsilon": "3",
        "noiseMultiplier": f"{commits[-1].privacy.noise_multiplier:.6g}",
    }


def test_a_round_that_would_pass_the_target_is_not_run():
    state, commits = run(rules.collecting("ab", rounds=9, privacy=asked(noise_multiplier=2.0, target_epsilon=4.0)))
    assert len(commits) == 3
    assert commits[-1].privacy.epsilon <= 4.0 < state.account.charged(2.0).epsilon(DELTA)
    assert (state.end.result, state.end.reason) == ("Succeeded", "PrivacyBudgetSpent")
    assert "of one site, delta 1e-5" in state.end.message
    assert "targetEpsilon 4" in state.end.message
    assert status(state)["outcome"]["reason"] == "PrivacyBudgetSpent"


def test_a_job_whose_noise_allows_for_no_round_fails_before_any_site_trains():
    fit = rules.collecting("ab", privacy=asked(noise_multiplier=1.0))
    unfit = fit.config.model_copy(update={"privacy": asked(noise_multiplier=0.1, target_epsilon=1.0)})
    state = recovery.recovered(unfit, Log(Head(epoch=2, round=0), (fit.tip,)), 50.0)[0]
    state, effects = machine.step(state, Ticked(51.0))
    assert (state.end.result, state.end.reason) == ("Failed", "PrivacyBudgetSpent")
    assert not [effect for effect in effects if isinstance(effect, WritePlan)]


def test_what_is_added_is_frozen_in_the_plan_and_goes_to_the_fold():
    state = rules.collecting("abc", quorum=2, grace_after_quorum_s=0.0, privacy=asked(noise_multiplier=1.5))
    done = state.current.plan.privacy
    assert (done.noise_multiplier, done.denominator) == (1.5, 3)
    state, _ = rules.accept(state, "a")
    state, effects = rules.accept(state, "b")
    (fold,) = (effect for effect in effects if isinstance(effect, Fold))
    assert fold.privacy == done, "over three, however many came"


def test_an_attempt_that_comes_to_nothing_costs_nothing():
    state = rules.collecting("ab", privacy=asked(noise_multiplier=1.0), max_failures=3)
    for client in "ab":
        state, _ = rules.accept(state, client)
    state, effects = machine.step(state, FoldFailed(30.0, 1, 1, "ModelNotFinite", "x"))
    assert state.account == Account()
    assert next(e.plan for e in effects if isinstance(e, WritePlan)).attempt == 2
    state, commit = folded(state)
    assert commit.privacy.epsilon == pytest.approx(4.3771781, abs=1e-5)


def recovered(state: State, *commits: CommitRecord) -> State:
    head = Head(epoch=2, round=commits[-1].round)
    return recovery.recovered(state.config, Log(head, commits), 50.0)[0]


def test_the_account_is_read_off_the_commits():
    first = rules.collecting("ab", rounds=5, privacy=asked(noise_multiplier=2.0))
    initial = first.tip
    state, one = folded(first)
    state, two = folded(state, 31.0)
    again = recovered(state, initial, one, two)
    assert again.account == state.account
    assert again.account.squares == pytest.approx(0.5)


def test_rolling_back_gives_nothing_back():
    state, commit = folded(rules.collecting("ab", rounds=5, privacy=asked(noise_multiplier=2.0)))
    back = commit.model_copy(update={"round": 2, "rolled_back_to": 0, "privacy": None, "participants": ()})
    assert state.account.with_commit(back) == state.account


def test_a_job_that_goes_on_from_rounds_without_noise_ends():
    state = rules.collecting("ab", rounds=5)
    initial, (_, plain) = state.tip, folded(state)
    private = state.config.model_copy(update={"privacy": asked(target_epsilon=3.0)})
    again = recovery.recovered(private, Log(Head(epoch=2, round=1), (initial, plain)), 50.0)[0]
    again, _ = machine.step(again, Ticked(1e6))
    assert (again.end.result, again.end.reason) == ("Failed", "EarlierRoundsUnprotected")
    assert "privacy" not in status(again)


def test_records_without_privacy_are_what_they_were():
    _, commit = folded(rules.collecting("ab"))
    assert b"privacy" not in commit.canonical()
    assert b"privacy" not in rules.collecting("ab").current.plan.canonical()
    assert Charge(mode="Central", clip_norm=1, noise_multiplier=1, epsilon=1, delta=0.1).unit == "Site"


def test_the_clip_norm_of_a_plan_follows_from_the_last_count():
    moving = AdaptiveClipping(target_quantile=0.5, learning_rate=1.0)
    first = rules.collecting("ab", rounds=5, privacy=asked(noise_multiplier=2.0, adaptive=moving))
    done = first.current.plan.privacy
    assert (done.clip_norm, done.count_noise) == (1.0, 2.0)
    state, _ = rules.accept(first, "a")
    state, _ = rules.accept(state, "b")
    state, effects = machine.step(state, Folded(30.0, 1, 1, rules.ref(rules.B), within=0.75))
    commit = next(each.commit for each in effects if isinstance(each, Commit))
    assert (commit.privacy.clip_norm, commit.privacy.within) == (1.0, 0.75)
    assert commit.privacy.epsilon == pytest.approx(epsilon_of(0.5, DELTA)), "the count is in the noise multiplier"
    expected = math.exp(-0.25)
    assert state.current.plan.privacy.clip_norm == pytest.approx(expected)
    again = recovered(state, first.tip, commit)
    assert again.account == state.account
    again, _ = machine.step(again, Heard(51.0, ("a", "b")))
    assert again.current.plan.privacy.clip_norm == state.current.plan.privacy.clip_norm
    assert float(status(state)["privacy"]["clipNorm"]) == pytest.approx(expected, rel=1e-5)
