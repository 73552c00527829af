"""Evaluation of a committed round on request: whom it is asked of, when it is over, and what it never touches."""

from dataclasses import replace

import pytest

from fedaggregator.status import status
from fedapi.wire.job import EvaluationRequest, EvaluationSettings
from fedapi.wire.roster import RosterEntry
from fedapi.wire.site import EvaluationReport
from fedapi.wire.siteevaluation import SiteEvaluationRecord
from fedcore.rounds import admission, assignment, committing, evaluation_requests, machine
from fedcore.rounds.effects import FindModel
from fedcore.rounds.events import Configured, ModelFound, ModelLost, SiteEvaluated, SiteFailed, Ticked
from fedcore.rounds.state import Phase
from tests.unit.fedcore.rounds.test_rollback_rules import after, commit_round, digest
from tests.unit.fedcore.rounds.test_round_rules import accept

OF_1 = EvaluationRequest(round=1, clients=("a", "x"))


def asked(state, request: EvaluationRequest):
    entries = (*(RosterEntry(name=name) for name in "ab"), RosterEntry(name="x", held_out=True))
    evaluation = EvaluationSettings(every_rounds=100, request=request)
    config = state.config.model_copy(update={"roster": entries, "evaluation": evaluation})
    return machine.step(state, Configured(40.0, config))


def running():
    """Three rounds are committed; a, which trains, and x, which is held out, are asked for the first."""
    state, commits = after(3)
    state, effects = asked(state, OF_1)
    assert effects == (FindModel(OF_1),)
    return machine.step(state, ModelFound(41.0, OF_1, commits[0], ()))[0], commits


def record(client: str, round_: int = 1) -> SiteEvaluationRecord:
    return SiteEvaluationRecord(
        job_uid="uid", round=round_, client=client, model_sha256=digest(round_), samples=2,
        metrics={"accuracy": 0.25}, held_out=client == "x", at=42.0,
    )  # fmt: skip


def said(state) -> tuple:
    told = status(state)["evaluation"]
    return told["round"], told["state"], told["sites"], told["missing"]


def test_a_site_that_trains_is_asked_when_it_has_nothing_else_to_do():
    state, _ = running()
    assert {client: assignment.kind(state, client, None) for client in "abx"} == {
        "a": "Train",
        "b": "Train",
        "x": "Evaluate",
    }
    assert (assignment.evaluated(state, "x").round, said(state)) == (1, (1, "Running", "0/2", ["a", "x"]))
    state, _ = accept(state, "a")
    assert (assignment.kind(state, "a", None), assignment.evaluated(state, "a").round) == ("Evaluate", 1)
    state, effects = machine.step(state, SiteEvaluated(43.0, record("a")))
    assert (effects, said(state), "a" in state.reports, "a" in state.site_evaluations) == (
        (),
        (1, "Running", "1/2", ["x"]),
        False,
        False,
    )
    assert assignment.kind(state, "a", None) == "Wait"
    state, _ = machine.step(state, SiteEvaluated(44.0, record("x")))
    assert said(state) == (1, "Done", "2/2", [])
    assert status(state)["evaluation"]["metrics"] == [{"name": "accuracy", "value": "0.25", "round": 1}]


def test_who_has_answered_before_is_not_asked_again():
    state, commits = after(3)
    state, _ = asked(state, OF_1)
    state, _ = machine.step(state, ModelFound(41.0, OF_1, commits[0], (record("a"), record("x"))))
    assert said(state) == (1, "Done", "2/2", [])


def test_it_is_over_at_the_deadline_or_when_the_others_cannot():
    state, _ = running()
    late, _ = machine.step(state, Ticked(41.0 + state.config.deadline_s))
    assert (said(late), assignment.kind(late, "x", None)) == ((1, "Incomplete", "0/2", ["a", "x"]), "Wait")
    for client in "ax":
        state, effects = machine.step(state, SiteFailed(45.0, client, 1, 0, "EvaluationRefused", "no"))
        assert effects == ()
    assert (said(state)[1], state.current.failed) == ("Incomplete", {}), "a still trains"


@pytest.mark.parametrize(
    ("values", "round_", "words", "looked"),
    [
        ({}, 4, "round 4 is not committed: choose one of 0 to 3", ()),
        ({"history_keep": 2}, 1, "the model of round 1 is not kept", (FindModel(OF_1),)),
    ],
)
def test_it_is_refused_with_the_way_out(values, round_, words, looked):
    state, _ = after(3, (0.1, 0.2, 0.3), **values)
    state, effects = asked(state, OF_1.model_copy(update={"round": round_}))
    assert (effects, status(state)["evaluation"]["state"]) == (looked, "Refused"), "or it was answered before"
    assert words in status(state)["evaluation"]["message"]
    if looked:
        state, effects = machine.step(state, ModelLost(50.0, OF_1, "it is gone"))
        assert (effects, status(state)["evaluation"]["state"]) == ((), "Refused")
    assert words in status(state)["evaluation"]["message"]
    lost, _ = machine.step(running()[0], ModelLost(50.0, OF_1, "round 1 cannot be evaluated: gone"))
    assert status(lost)["evaluation"]["message"] == "round 1 cannot be evaluated: gone"


@pytest.mark.parametrize("ended", [False, True], ids=["its model is not kept any more", "the job has ended"])
@pytest.mark.parametrize(
    ("clients", "result"), [("ax", (1, "Done", "2/2", [])), ("x", (1, "Incomplete", "1/2", ["a"]))]
)
def test_what_was_answered_stays_so_after_a_restart(ended, clients, result):
    state, commits = after(3, (0.1, 0.2, 0.3), history_keep=None if ended else 2)
    if ended:
        state = replace(state, phase=Phase.FINISHED, current=None)
    state, effects = asked(state, OF_1)
    assert effects == (FindModel(OF_1),)
    records = tuple(map(record, clients))
    answer = ModelFound(41.0, OF_1, commits[0], records) if ended else ModelLost(41.0, OF_1, "it is gone", records)
    state, effects = machine.step(state, answer)
    assert (effects, said(state), status(state)["evaluation"]["message"]) == ((), result, "")
    assert evaluation_requests.open_for(state, "a") is None
    assert machine.step(state, Ticked(42.0)) == (state, ())


def test_its_model_is_kept_while_it_is_asked_for():
    state, commits = after(3, (0.1, 0.2, 0.3), history_keep=3)
    state, _ = asked(state, OF_1)
    assert digest(1) in committing.kept_objects(commit_round(state, commits, 0.9))
    state, _ = machine.step(state, ModelFound(41.0, OF_1, commits[0], (record("a"), record("x"))))
    assert digest(1) not in committing.kept_objects(commit_round(state, commits, 0.9))


def test_a_report_in_its_turn_counts_in_both_places():
    state, _ = running()
    mine = EvaluationReport(job_uid="uid", round=1, client="a", model_sha256=digest(1), samples=1, metrics={})
    assert (evaluation_requests.asks(state, "a", mine), admission.in_turn(state, "a", mine)) == (True, False)
    tip = mine.model_copy(update={"round": 3, "model_sha256": digest(3)})
    assert (evaluation_requests.asks(state, "a", tip), admission.in_turn(state, "a", tip)) == (False, True)


OF_ALL = EvaluationRequest(round=1, clients=("a", "x"), selection="5" * 64)


def joined(state, **changed):
    """What the operator says once b is selected, too."""
    return asked(state, OF_ALL.model_copy(update={"clients": ("a", "b", "x"), **changed}))


def of_all():
    state, commits = after(3)
    state, _ = asked(state, OF_ALL)
    return state, ModelFound(41.0, OF_ALL, commits[0], ())


def test_what_was_answered_is_not_asked_of_a_site_that_joins():
    state, found = of_all()
    state, _ = machine.step(state, found)
    for client in "ax":
        state, _ = machine.step(state, SiteEvaluated(43.0, record(client)))
    state, effects = joined(state)
    assert (effects, said(state)) == ((), (1, "Done", "2/2", []))
    assert evaluation_requests.open_for(state, "b") is None
    _, effects = joined(state, selection="6" * 64)
    assert [type(effect) for effect in effects] == [FindModel], "another selector is another value"
    _, effects = joined(state, id="again")
    assert [type(effect) for effect in effects] == [FindModel]


def test_a_site_that_joins_while_it_is_open_is_asked_too():
    state, found = of_all()
    state, effects = joined(state)
    assert effects == (), "its model is looked for already"
    state, _ = machine.step(state, found)
    state, _ = machine.step(state, SiteEvaluated(43.0, record("a")))
    state, _ = machine.step(state, Ticked(44.0))
    assert said(state) == (1, "Running", "1/3", ["b", "x"])
    state, _ = asked(state, OF_ALL)
    assert said(state) == (1, "Running", "1/2", ["x"])
