"""Held-out sites: whom they evaluate for, that no round waits for them, and what the last step does."""

from dataclasses import replace

import pytest

from fedaggregator.status import status
from fedapi.wire.job import EvaluationSettings
from fedapi.wire.roster import RosterEntry
from fedapi.wire.site import EvaluationReport
from fedapi.wire.siteevaluation import SiteEvaluationRecord
from fedapi.wire.store import Head
from fedapi.wire.strategy import StrategySettings
from fedapi.wire.training import Method
from fedcore.rounds import admission, assignment, heldout, machine, recovery, training
from fedcore.rounds.effects import Commit, Finish, WriteEvaluation, WritePlan
from fedcore.rounds.events import Configured, Folded, Heard, InitialModelFound, SiteEvaluated, SiteFailed, Ticked
from fedcore.rounds.recovery import Log
from fedcore.rounds.state import Phase, State
from tests.unit.fedcore.rounds.test_rollback_rules import digest, evaluated
from tests.unit.fedcore.rounds.test_round_rules import accept, config, kinds, ref

OUT = RosterEntry(name="x", held_out=True)


def held_out_job(every=1, others=(), **values) -> State:
    """Round 1 is planned: sites a and b train, x is held out."""
    roster = (*(RosterEntry(name=name) for name in "ab"), OUT, *others)
    values = {"roster": roster, "evaluation": EvaluationSettings(every_rounds=every)} | values
    state = State(config().model_copy(update=values), epoch=1)
    for event in (InitialModelFound(10.0, ref(digest(0))), Heard(10.0, ("a", "b", "x"))):
        state, _ = machine.step(state, event)
    assert state.phase is Phase.COLLECTING
    return state


def committed(state: State):
    plan = state.current.plan
    for client in plan.selected:
        state, _ = accept(state, client)
    return machine.step(state, Folded(30.0, plan.round, plan.attempt, ref(digest(plan.round))))


def record(state: State, client="x", round_=None, accuracy=0.5, samples=4) -> SiteEvaluationRecord:
    round_ = state.tip.round if round_ is None else round_
    return SiteEvaluationRecord(
        job_uid="uid", round=round_, client=client, model_sha256=state.history[round_].model, samples=samples,
        metrics={"accuracy": accuracy}, held_out=True, at=20.0,
    )  # fmt: skip


def site_evaluated(state: State, **values) -> State:
    state, effects = machine.step(state, SiteEvaluated(20.0, record(state, **values)))
    assert effects == ()
    return state


def told(state: State, client="x") -> str:
    return assignment.kind(state, client, None)


def test_a_held_out_site_is_in_no_plan_and_evaluates_while_the_others_train():
    state = held_out_job()
    assert state.current.plan.selected == ("a", "b")
    assert (told(state), told(state, "a")) == ("Evaluate", "Train")
    after = site_evaluated(state, accuracy=0.4)
    assert told(after) == "Wait"
    assert status(after)["heldOut"] == {
        "round": 0, "sites": "1/1", "metrics": [{"name": "accuracy", "value": "0.4", "round": 0}],
    }  # fmt: skip
    assert next(c["state"] for c in status(after)["clients"] if c["name"] == "x") == "HeldOut"
    assert "metrics" not in status(after), "what the job stops by is measured by the sites that train"
    after, effects = committed(after)
    assert WritePlan in kinds(effects)
    assert told(after) == "Evaluate", "of the next model"


def test_a_silent_held_out_site_holds_no_round_up_and_is_recorded():
    state = evaluated(held_out_job(), 0.5)
    _, effects = committed(state)
    written = next(effect.evaluation for effect in effects if isinstance(effect, WriteEvaluation))
    assert (set(written.clients), written.held_out_missing) == ({"a", "b"}, ("x",))
    _, effects = committed(site_evaluated(state))
    assert next(e.evaluation for e in effects if isinstance(e, WriteEvaluation)).held_out_missing == ()


def test_what_comes_late_is_taken_of_any_committed_model_and_of_no_other():
    state, _ = committed(held_out_job(rounds=9))
    state, _ = committed(state)

    def answer(round_, sha256):
        report = EvaluationReport(
            job_uid="uid", round=round_, client="x", model_sha256=sha256, samples=3, metrics={"accuracy": 1.0}
        )
        refused = admission.site_evaluation(state, "x", report)
        return refused and refused.code

    assert [answer(n, digest(n)) for n in range(3)] == [None, None, None]
    assert (answer(3, digest(3)), answer(1, digest(2))) == ("StaleRound", "WrongBase")
    newest = site_evaluated(site_evaluated(state, accuracy=0.9), round_=1, accuracy=0.1)
    assert status(newest)["heldOut"]["metrics"][0] == {"name": "accuracy", "value": "0.9", "round": 2}
    late = site_evaluated(state, round_=1, accuracy=0.1)
    assert (status(late)["heldOut"]["round"], told(late)) == (1, "Evaluate")


def test_every_second_round_and_the_last_one():
    state, asked = held_out_job(every=2, rounds=3), []
    for _ in range(3):
        asked.append((state.tip.round, told(state)))
        state, _ = committed(state)
    assert (state.phase, told(state)) == (Phase.EVALUATING, "Evaluate")
    assert asked == [(0, "Evaluate"), (1, "Wait"), (2, "Evaluate")]


def test_the_last_step_waits_for_one_that_was_heard_as_long_as_for_the_others_and_no_longer():
    state, _ = committed(held_out_job(rounds=1))
    state = evaluated(state, 0.5)
    assert state.phase is Phase.EVALUATING
    _, effects = machine.step(state, SiteEvaluated(40.0, record(state)))
    assert [type(effect) for effect in effects] == [WriteEvaluation, Finish]
    over, effects = machine.step(state, Ticked(state.closing.until))
    assert (over.phase, effects[0].evaluation.held_out_missing) == (Phase.FINISHED, ("x",))
    silent = replace(held_out_job(rounds=1), sites={})  # nobody was heard
    silent, _ = committed(silent)
    assert silent.closing.expected == {"a", "b"}


def test_one_that_fails_is_not_asked_for_that_model_again():
    state, effects = machine.step(held_out_job(), SiteFailed(20.0, "x", 0, 0, "EvaluationRefused", "no"))
    assert (told(state), effects, state.site("x").failures) == ("Wait", (), 1)
    state, _ = committed(state)
    assert told(state) == "Evaluate"


def test_one_that_has_trained_before_is_no_measure_any_more():
    state, _ = committed(held_out_job(rounds=9))
    roster = tuple(RosterEntry(name=name, held_out=name != "a") for name in "abx")
    state, _ = machine.step(state, Configured(40.0, state.config.model_copy(update={"roster": roster})))
    assert (heldout.is_held_out(state, "b"), heldout.due(state)) == (False, {"x"})
    assert told(state, "b") == "Train", "it ends the round that it is in"
    state, _ = committed(state)
    assert (state.current.plan.selected, told(state, "b"), told(state)) == (("a",), "Wait", "Evaluate")


def test_a_restart_knows_what_was_evaluated():
    commits, state = [], held_out_job(rounds=9)
    _, effects = machine.step(State(state.config, 1), InitialModelFound(10.0, ref(digest(0))))
    commits.append(next(e.commit for e in effects if isinstance(e, Commit)))
    after, effects = committed(state)
    commits.append(next(e.commit for e in effects if isinstance(e, Commit)))
    head = Head(epoch=2, round=1, commit_sha256=commits[-1].digest())
    gone = record(after).model_copy(update={"model_sha256": digest(9)})  # a repair went back behind that one
    for found, kind in (((record(after),), "Wait"), ((record(after, round_=0),), "Evaluate"), ((gone,), "Evaluate")):
        state, _ = recovery.recovered(after.config, Log(head, tuple(commits), site_evaluations=found), 50.0)
        state, _ = machine.step(state, Heard(51.0, ("a", "b", "x")))
        assert told(state) == kind


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        (RosterEntry(name="x", held_out=True), "||||1"),
        (RosterEntry(name="x", eligible=False, reason="Paused", held_out=True), "Paused||||1"),
        (RosterEntry(name="x", stratum=2, every_rounds=3, override=1, held_out=True), "|2|3|1|1"),
        (RosterEntry(name="x", override=1), "|||1"),
    ],
)
def test_the_roster_says_so(entry, code):
    assert (entry.coded(), RosterEntry.decoded("x", code)) == (code, entry)


def test_controls_are_divided_by_the_sites_that_train():
    strategy = StrategySettings(name="SCAFFOLD", parameters={"learning_rate": 1.0})
    assert training.method(held_out_job().config.model_copy(update={"strategy": strategy})) == Method(
        control_variates=2
    )


def test_nothing_is_said_of_it_without_held_out_sites():
    assert "evaluation" not in config().model_dump()
    state = evaluated(held_out_job(roster=config().roster, evaluation=None), 0.5)
    assert "held_out_missing" not in committed(state)[1][0].evaluation.model_dump()
