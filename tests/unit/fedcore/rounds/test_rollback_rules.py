"""Going back to an earlier round: when it is done, when it is refused, and what counts afterwards."""

from dataclasses import replace

import pytest

from fedaggregator.status import status
from fedapi.wire.job import RollbackTo, StopRule
from fedapi.wire.site import EvaluationReport
from fedcore.rounds import assignment, evaluation, lines, machine, recovery
from fedcore.rounds.effects import Commit, Discard, FindRound, Finish, WriteEvaluation, WritePlan
from fedcore.rounds.events import Configured, Evaluated, Folded, Heard, RoundFound, RoundLost, Ticked
from fedcore.rounds.recovery import Log
from fedcore.rounds.sites import Contribution
from fedcore.rounds.state import Kept, Phase, State
from tests.unit.fedcore.rounds.test_round_rules import accept, collecting, config, kinds, ref

TO_1 = RollbackTo(round=1)


def digest(number: int) -> str:
    return f"{number:064x}"


def commit_round(state: State, commits: list, accuracy: float | None = None, model: int | None = None) -> State:
    """The round under way is delivered by all and committed; `accuracy`: of the model that it began with."""
    if accuracy is not None:
        state = evaluated(state, accuracy)
    plan = state.current.plan
    for client in plan.selected:
        state, _ = accept(state, client)
    state, effects = machine.step(state, Folded(30.0, plan.round, plan.attempt, ref(digest(model or plan.round))))
    commits += [effect.commit for effect in effects if isinstance(effect, Commit)]
    return state


def evaluated(state: State, accuracy: float) -> State:
    for client in sorted(state.roster.eligible):
        values = {"model_sha256": state.tip.model.sha256, "samples": 1, "metrics": {"accuracy": accuracy}}
        report = EvaluationReport(job_uid="uid", round=state.tip.round, client=client, **values)
        state, _ = machine.step(state, Evaluated(25.0, report))
    return state


def after(done: int, accuracies=(), **values) -> tuple[State, list]:
    """So many rounds are committed, and the next one is open. The commits, from that of round 1 on."""
    state, commits = collecting(**{"rounds": 9} | values), []
    for number in range(done):
        state = commit_round(state, commits, accuracies[number] if number < len(accuracies) else None)
    return state, commits


def asked(state: State, to: RollbackTo | None):
    return machine.step(state, Configured(40.0, state.config.model_copy(update={"rollback_to": to})))


def went_back(state: State, commits: list, to: RollbackTo = TO_1, made=None):
    """Asked and answered: the state, and the effects of the answer."""
    state, effects = asked(state, to)
    assert effects == (FindRound(to),)
    return machine.step(state, RoundFound(41.0, to, commits[to.round - 1], made or {}))


def test_an_open_round_is_void_and_the_next_begins_with_the_older_model():
    state, commits = after(3)
    state, _ = accept(state, "a")
    made = {"a": Contribution(1, 1, digest(7))}
    state, effects = went_back(state, commits, made=made)
    assert kinds(effects) == [Commit, Discard, WritePlan]
    commit, plan = effects[0].commit, effects[2].plan
    assert (commit.round, commit.attempt, commit.rolled_back_to, commit.participants) == (4, 2, 1, ())
    assert (commit.model, commit.previous_sha256) == (commits[0].model, commits[2].digest())
    assert (plan.round, plan.attempt, plan.base) == (5, 1, commits[0].model)
    assert assignment.kind(state, "b", (4, 1)) == "Drop"
    assert {client: state.site(client).committed for client in "ab"} == {"a": made["a"], "b": None}
    assert state.site("a").failures == 0
    assert status(state)["rollback"] == {
        "round": 1, "id": "", "result": "Done", "committed": 4, "message": "round 4 has the model of round 1",
    }  # fmt: skip
    assert status(state)["round"]["progress"] == "4/12", "9 rounds, and 3 numbers that are not in the model any more"


def test_each_value_acts_once():
    state, commits = after(3)
    state, _ = went_back(state, commits)
    for to in (TO_1, None, TO_1):
        state, effects = asked(state, to)
        assert effects == ()
    state, effects = asked(state, RollbackTo(round=1, id="again"))
    assert kinds(effects) == [FindRound]


def test_while_it_is_looked_for_the_round_goes_on_and_a_change_of_mind_counts():
    state, commits = after(3)
    state, _ = asked(state, TO_1)
    state, effects = machine.step(state, Ticked(40.5))
    assert effects == ()
    other = RollbackTo(round=2)
    state, effects = asked(state, other)
    assert effects == (FindRound(other),)
    state, effects = machine.step(state, RoundFound(41.0, TO_1, commits[0], {}))
    assert (effects, state.tip.round) == ((), 3), "nobody asks for that any more"
    state, _ = asked(state, None)
    state, effects = machine.step(state, RoundFound(41.0, other, commits[1], {}))
    assert (effects, state.tip.round, state.seeking) == ((), 3, None)


def test_a_round_that_is_being_made_is_committed_first():
    state, commits = after(2)
    for client in "ab":
        state, _ = accept(state, client)
    assert state.phase is Phase.FOLDING
    state, effects = went_back(state, commits)
    assert effects == ()
    state, effects = machine.step(state, Folded(50.0, 3, 1, ref(digest(3))))
    assert kinds(effects) == [Commit, Discard, Commit, Discard, WritePlan]
    assert [e.commit.rolled_back_to for e in effects if isinstance(e, Commit)] == [None, 1]


@pytest.mark.parametrize(
    ("to", "told"),
    [
        (3, "round 3 is the last committed round: training goes on from its model as it is"),
        (7, "round 7 is not committed: choose one of 0 to 2"),
    ],
)
def test_what_is_no_earlier_round_is_refused_and_is_not_done_later_either(to, told):
    state, commits = after(3)
    state, effects = asked(state, RollbackTo(round=to))
    assert effects == ()
    assert status(state)["rollback"] == {"round": to, "id": "", "result": "Refused", "message": told}
    for _ in range(6):
        state = commit_round(state, commits)
        assert not [commit for commit in commits if commit.rolled_back_to is not None]
    assert [(r.round, r.refused) for commit in commits for r in commit.rollbacks] == [(to, told)]


def test_a_model_that_is_not_kept_is_refused_with_those_that_are():
    state, _ = after(5, history_keep=2)
    state, effects = asked(state, TO_1)
    assert effects == ()
    assert status(state)["rollback"]["message"] == (
        "the model of round 1 is not kept (spec.storage.history.keep): kept are 4"
    )
    state, effects = asked(state, RollbackTo(round=4))
    assert kinds(effects) == [FindRound]


def test_what_is_gone_back_to_is_not_deleted_meanwhile():
    state, _ = after(4, history_keep=2)
    state, _ = asked(state, RollbackTo(round=3))
    for client in "ab":
        state, _ = accept(state, client)
    state, effects = machine.step(state, Folded(50.0, 5, 1, ref(digest(5))))
    (discard,) = [effect for effect in effects if isinstance(effect, Discard)]
    assert digest(3) in discard.keep


def test_a_model_that_is_lost_is_refused_by_name():
    state, _ = after(3)
    state, _ = asked(state, TO_1)
    state, effects = machine.step(state, RoundLost(41.0, TO_1, "models/x: its SHA-256 is …"))
    assert effects == ()
    assert status(state)["rollback"]["message"] == "models/x: its SHA-256 is …"
    assert state.current is not None


def test_before_the_first_round_and_after_the_last_there_is_nothing_to_go_back_from():
    state = State(config("ab", rollback_to=TO_1), epoch=1)
    state, _ = machine.step(state, Ticked(1.0))
    assert status(state)["rollback"]["message"] == "round 1 is not committed: no round is yet"
    state, _ = after(2, rounds=2)
    assert state.phase is Phase.EVALUATING
    state, effects = asked(state, TO_1)
    assert effects == ()
    assert "training is over: `fedloom model pull`" in status(state)["rollback"]["message"]


def test_failed_attempts_before_it_count_for_nothing():
    state, commits = after(2, max_failures=0)
    state, effects = went_back(state, commits)
    assert Finish not in kinds(effects)
    assert (state.attempt, state.current.plan.round, state.end) == (1, 4, None)


def test_best_and_patience_look_at_what_is_in_the_model():
    rule = StopRule(metric="accuracy", patience=2)
    state, commits = after(4, accuracies=(0.1, 0.5, 0.9, 0.8), stop=rule)
    state = evaluated(state, 0.7)
    state, effects = went_back(state, commits)
    assert WriteEvaluation in kinds(effects), "the evaluation of the model that was given up is kept with it"
    assert evaluation.best(rule, evaluation.counting(state)).round == 1
    assert state.phase is Phase.COLLECTING, "0.9 of round 2 is no measure any more"
    state = commit_round(state, commits, accuracy=0.5)
    state = commit_round(state, commits, accuracy=0.45)
    assert state.phase is Phase.COLLECTING, "one round in the model since the best"
    state = commit_round(state, commits, accuracy=0.4)
    assert state.phase is Phase.EVALUATING
    assert state.closing.end.reason == "NoImprovement"
    assert (state.closing.end.message, status(state)["bestRound"]["round"]) == (
        "accuracy has not improved since round 1 (patience 2)", 1,
    )  # fmt: skip


def test_going_back_and_forth_makes_as_many_rounds_as_were_asked_for():
    state, commits = after(3, rounds=4)
    state, effects = went_back(state, commits)
    commits += [effect.commit for effect in effects if isinstance(effect, Commit)]
    state = commit_round(state, commits, model=55)
    state, effects = went_back(state, commits, RollbackTo(round=3))
    commits += [effect.commit for effect in effects if isinstance(effect, Commit)]
    assert lines.line(state.history) == {0, 1, 2, 3} == state.line
    assert state.tip.model == ref(digest(3))
    state = commit_round(state, commits)
    assert state.phase is Phase.EVALUATING
    assert state.closing.end.message == "7 of 7 rounds are committed"


def test_a_line_is_what_leads_to_the_last_model():
    kept = [Kept("m", None, back) for back in (None, None, None, 1, None, 2, None)]
    assert lines.line(kept) == {0, 1, 2, 6}
    assert lines.line(kept[:5]) == {0, 1, 4}
    assert lines.line(kept[:3]) is None


def test_a_restart_knows_what_was_decided():
    state, commits = after(3)
    state, _ = asked(state, RollbackTo(round=9))
    state, effects = went_back(state, commits)
    commits += [effect.commit for effect in effects if isinstance(effect, Commit)]
    first = state.history[0]
    zero = commits[0].model_copy(update={"round": 0, "model": ref(first.model), "previous_sha256": None})
    head = recovery.Head(epoch=2, round=4, commit_sha256=commits[-1].digest())
    again, _ = recovery.recovered(state.config, Log(head, (zero, *commits)), 60.0)
    assert (again.decided, again.line, again.history) == (state.decided, state.line, state.history)
    assert [(each.asked.round, bool(each.refused)) for each in again.decided] == [(9, True), (1, False)]
    again, effects = machine.step(again, Heard(61.0, ("a", "b")))
    assert FindRound not in kinds(effects)
    assert replace(again, config=state.config).tip == commits[-1]
