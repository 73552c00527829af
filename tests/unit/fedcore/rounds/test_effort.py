"""Goodput: what of the training is in a model, failures and stragglers counted as far as the hub knows of them."""

import pytest

from fedaggregator.status import status
from fedapi.wire.store import Head
from fedcore.rounds import machine, recovery
from fedcore.rounds.effects import Commit
from fedcore.rounds.events import Accepted, Folded, Heard, Restarted, SiteFailed, Ticked
from fedcore.rounds.recovery import Log
from fedcore.rounds.state import State
from tests.unit.fedcore.rounds import test_round_rules as rules


def folded(state: State, now: float):
    plan = state.current.plan
    state, effects = machine.step(state, Folded(now, plan.round, plan.attempt, rules.ref(rules.B)))
    return state, next(e.commit for e in effects if isinstance(e, Commit))


def delivered(state: State, client: str, now: float, training_s: float) -> State:
    return machine.step(state, Accepted(now, rules.manifest(state, client, training_s=training_s)))[0]


def test_nothing_is_lost_where_all_deliver():
    state = rules.collecting("ab")
    assert status(state).get("goodput") is None
    for client in "ab":
        state = delivered(state, client, 20.0, 8.0)
    state, commit = folded(state, 21.0)
    assert (commit.lost_s, state.effort.useful_s) == (0.0, 16.0)
    assert status(state)["goodput"] == "1.000"


def test_a_failed_site_and_a_late_one_have_trained_in_vain():
    state = rules.collecting("abcd", quorum=2, grace_after_quorum_s=5.0)
    state, _ = machine.step(state, SiteFailed(18.0, "a", 1, 1, "TaskFailed", ""))  # planned at 10
    assert status(state)["goodput"] == "0.000"
    for client in "bc":
        state = delivered(state, client, 30.0, 19.0)
    state, _ = machine.step(state, Ticked(35.0))
    state, commit = folded(state, 36.0)
    assert commit.lost_s == pytest.approx(8.0 + 25.0)
    assert state.effort.goodput(0.0) == pytest.approx(38 / (38 + 33))


def test_updates_of_a_failed_attempt_are_lost_and_a_silent_site_trained_nothing():
    state = rules.collecting("ab", max_failures=3)
    state = delivered(state, "a", 20.0, 9.0)
    state = machine.step(state, Heard(50.0, ("a",)))[0]
    state, (failure, _) = machine.step(state, Ticked(110.0))
    assert failure.failure.lost_s == pytest.approx(9.0 + 100.0), "b was heard when the round was planned"
    assert (failure.failure.missed, failure.failure.open_s) == (("b",), 100.0)
    state = machine.step(state, Heard(120.0, ("a",)))[0]
    assert state.spent_s == pytest.approx(109.0)
    state = delivered(state, "a", 130.0, 15.0)
    state, (failure, _) = machine.step(state, Ticked(210.0))
    assert failure.failure.lost_s == pytest.approx(15.0), "b was not heard since the second plan"


def test_a_site_that_asks_for_its_order_again_has_lost_what_it_trained():
    state = rules.collecting("ab")
    state, effects = machine.step(state, Restarted(18.0, "a", 1, 1, 7.0))
    assert (effects, state.spent_s) == ((), 7.0)
    assert machine.step(state, Restarted(19.0, "a", 1, 2, 7.0))[0] == state, "of another attempt"
    state, (failure, _) = machine.step(state, SiteFailed(21.0, "a", 1, 1, "TaskFailed", ""))
    assert failure.failure.lost_s == pytest.approx(7.0 + 3.0 + 11.0), "a: once more from 18 on; b from the plan on"


def test_what_was_lost_in_a_closed_attempt_is_durable_though_every_site_delivered():
    state = rules.collecting("ab")
    state, _ = machine.step(state, Restarted(18.0, "a", 1, 1, 7.0))
    first = rules.manifest(state, "a", training_s=5.0)
    state, _ = machine.step(state, Accepted(25.0, first))
    last = rules.manifest(state, "b", training_s=15.0)
    closed, (written, _) = machine.step(state, Accepted(26.0, last))
    log = log_of(state, manifests=(first, last), closes=(written.close,))
    resumed, _ = recovery.recovered(state.config, log, 50.0)
    assert (resumed.spent_s, resumed.current.closed) == (closed.spent_s, closed.current.closed) == (7.0, ("a", "b"))


def test_an_aggregator_that_is_killed_forgets_only_what_was_lost_in_the_attempt_that_was_open():
    """Attempt 1 failed, and is durable; a began attempt 2 anew after 5 s, which nobody knows any more."""
    state = rules.collecting("ab", max_failures=3)
    state, (failure, _) = machine.step(state, Ticked(110.0))
    state = machine.step(state, Heard(120.0, ("a",)))[0]
    open_s = 125.0 - state.current.plan.planned_at
    state, _ = machine.step(state, Restarted(125.0, "a", 1, 2, 5.0))
    resumed, _ = recovery.recovered(state.config, log_of(state, failures=(failure.failure,)), 130.0)
    assert (resumed.attempt, resumed.effort) == (state.attempt, state.effort)
    assert resumed.spent_s == failure.failure.lost_s == state.spent_s - 5.0
    assert state.spent_s - resumed.spent_s <= len(state.current.plan.selected) * open_s
    for client, training_s in (("a", 2.0), ("b", 3.0)):
        resumed = delivered(resumed, client, 140.0, training_s)
    assert status(folded(resumed, 141.0)[0])["goodput"] == f"{5 / (5 + failure.failure.lost_s):.3f}"


def log_of(state: State, **found) -> Log:
    """What is durable of a state in its first round."""
    head = Head(epoch=2, round=0, commit_sha256=state.tip_sha256)
    return Log(head, (state.tip,), plans=(state.current.plan,), **found)


def test_a_site_cannot_have_trained_for_longer_than_its_round():
    state = rules.collecting("ab")
    state = delivered(state, "a", 20.0, 1e30)
    state = delivered(state, "b", 20.0, 5.0)
    state, _ = folded(state, 22.0)
    assert state.effort.useful_s == pytest.approx(12.0 + 5.0)
    assert state.site("a").part.training_s == (12.0,)
