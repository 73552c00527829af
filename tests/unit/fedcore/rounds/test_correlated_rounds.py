"""Rounds whose noise is correlated: who may take part again, what plans and commits say, and what a restart and a rollback make of it."""

import pytest

from fedapi.wire.commit import CommitRecord
from fedapi.wire.job import RollbackTo
from fedapi.wire.privacy import MatrixFactorization, Privacy
from fedapi.wire.store import Head
from fedcore.privacy.factorization import sensitivity_squared
from fedcore.rounds import machine, noisekeys, recovery
from fedcore.rounds.effects import Commit, Fold
from fedcore.rounds.events import Configured, Folded, FoldFailed, RoundFound, SiteFailed, Ticked
from fedcore.rounds.recovery import Log
from fedcore.rounds.state import Phase, State
from tests.unit.fedcore.rounds import test_round_rules as rules

SITES = "abcdef"


def asked(noise: float | None = 1.5, apart: int = 3, bands: int = 3, **values) -> Privacy:
    shape = MatrixFactorization(bands=bands, min_separation=apart)
    return Privacy(
        mode="Central", clip_norm=1.0, delta=1e-5, noise_multiplier=noise, matrix_factorization=shape, **values
    )


def begun(privacy: Privacy | None = None, **values) -> State:
    defaults = {"policy": "Random", "per_round": 2, "quorum": "50%", "rounds": 9}
    return rules.collecting(SITES, privacy=privacy or asked(), **defaults | values)


def folding(state: State, now: float, absent: str = "") -> tuple[State, Fold]:
    """All that were asked answer, but those that fail; who is alone does, too."""
    plan = state.current.plan
    for client in plan.selected:
        if client in absent and len(plan.selected) > 1:
            state, effects = machine.step(state, SiteFailed(now, client, plan.round, plan.attempt, "Error", "x"))
        else:
            state, effects = rules.accept(state, client, now)
        if orders := [effect for effect in effects if isinstance(effect, Fold)]:
            return state, orders[0]
    raise AssertionError("not closed")


def committed(state: State, now: float, absent: str = "") -> tuple[State, CommitRecord, Fold]:
    state, order = folding(state, now, absent)
    state, effects = machine.step(state, Folded(now, order.round, order.attempt, rules.ref(f"{order.round:064x}")))
    return state, next(e.commit for e in effects if isinstance(e, Commit)), order


def run(state: State, absent: str = "") -> tuple[State, list[CommitRecord]]:
    """To the end, rounds that nobody takes part in included."""
    commits, now = [], 20.0
    while state.phase in (Phase.COLLECTING, Phase.WAITING) and state.end is None and now < 200.0:
        now += 1.0
        if state.phase is Phase.COLLECTING:
            state, commit, _ = committed(state, now, absent)
            commits.append(commit)
        else:
            state, effects = machine.step(state, Ticked(now))
            commits += [effect.commit for effect in effects if isinstance(effect, Commit)]
    for _ in range(3):
        state, _ = machine.step(state, Ticked(1e6))
    return state, commits


@pytest.mark.parametrize("apart", [2, 3])
@pytest.mark.parametrize(
    "drawn",
    [
        {"policy": "Random", "per_round": 2},
        {"policy": "Random", "per_round": 4},  # more than can be away: rounds without anybody come between
        {"policy": "Fair", "per_round": 2},
        {"policy": "Poisson", "fraction": 0.4},
    ],
)
def test_no_site_takes_part_again_too_early(drawn, apart):
    _, commits = run(begun(asked(apart=apart), **drawn), absent="c")
    last: dict[str, int] = {}
    for commit in commits:
        for each in commit.participants:
            assert commit.round - last.get(each.client, -apart) >= apart
            last[each.client] = commit.round
    assert len(last) > 2
    assert len([commit for commit in commits if commit.participants]) >= 5


def test_without_correlated_noise_the_same_sites_may_come_at_once():
    plain = asked().model_copy(update={"matrix_factorization": None})
    _, commits = run(begun(plain, per_round=4))
    assert not [commit for commit in commits if commit.skipped]


def test_commits_name_the_noise_that_later_plans_take_back():
    state, said = begun(), []
    for now in (30.0, 31.0, 32.0, 33.0):
        plan = state.current.plan
        assert [each.drawn_for for each in plan.privacy.row.earlier] == said[-2:]
        state, commit, order = committed(state, now)
        assert commit.privacy.row.drawn_for == noisekeys.drawn_for("uid", order, order.privacy).hex()
        assert commit.privacy.epsilon == pytest.approx(state.account.epsilon(1e-5))
        said.append(commit.privacy.row.drawn_for)
    assert len(set(said)) == 4
    assert state.account.squares == pytest.approx(sensitivity_squared(3, 3, 4) / 1.5**2)


def test_a_target_is_met_by_the_last_round():
    state, commits = run(begun(asked(noise=None, target_epsilon=6.0)))
    assert commits[-1].privacy.epsilon == pytest.approx(6.0, rel=1e-6)
    assert (state.end.result, state.end.reason) == ("Succeeded", "RoundsCompleted")


def test_a_target_is_never_passed_where_rounds_without_anybody_come_between():
    state, commits = run(begun(asked(noise=None, target_epsilon=6.0), per_round=4))
    spent = [commit.privacy.epsilon for commit in commits if commit.privacy]
    assert len(spent) < 9
    assert spent == sorted(spent)
    assert 5.0 < spent[-1] <= 6.0 * (1 + 1e-9)
    assert {commit.privacy.row.since for commit in commits if commit.privacy} == {1}
    assert state.end.result == "Succeeded"


def test_an_attempt_that_comes_to_nothing_is_no_row():
    state, first, _ = committed(begun(max_failures=3), 30.0)
    state, order = folding(state, 31.0)
    state, _ = machine.step(state, FoldFailed(32.0, 2, 1, "ModelNotFinite", "x"))
    again = state.current.plan
    assert (again.round, again.attempt, again.privacy.row) == (2, 2, order.privacy.row)
    state, second, retried = committed(state, 33.0)
    assert second.privacy.row.drawn_for != noisekeys.drawn_for("uid", order, order.privacy).hex()
    assert second.privacy.row.drawn_for == noisekeys.drawn_for("uid", retried, retried.privacy).hex()
    assert [each.drawn_for for each in state.account.matrix.drawn] == [
        each.privacy.row.drawn_for for each in (first, second)
    ]


def test_a_restart_plans_the_same_row():
    state = begun()
    commits = [state.tip]
    for now in (30.0, 31.0, 32.0):
        state, commit, _ = committed(state, now)
        commits.append(commit)
    again, _ = recovery.recovered(state.config, Log(Head(epoch=2, round=3), tuple(commits)), 50.0)
    assert again.account == state.account
    again, _ = machine.step(again, Ticked(60.0))
    assert again.current.plan.privacy == state.current.plan.privacy
    assert again.current.plan.selected == state.current.plan.selected


def test_after_a_rollback_a_new_matrix_begins():
    state, _, _ = committed(begun(), 30.0)
    first = state.tip
    state, _, _ = committed(state, 31.0)
    spent, asked_for = state.account.squares, RollbackTo(round=1)
    state, _ = machine.step(state, Configured(32.0, state.config.model_copy(update={"rollback_to": asked_for})))
    state, _ = machine.step(state, RoundFound(33.0, asked_for, first, {}))
    assert state.tip.rolled_back_to == 1
    assert state.account.squares == spent
    if state.current is None:
        state, _ = machine.step(state, Ticked(60.0))
    row = state.current.plan.privacy.row
    assert (row.since, row.earlier) == (4, ())
