"""Jobs of no rounds: all sites evaluate the first model, and how many of them did so decides the end."""

import pytest

from fedaggregator.status import status
from fedapi.wire.compression import Encoding
from fedapi.wire.roster import RosterEntry
from fedapi.wire.store import Head
from fedapi.wire.strategy import StrategySettings
from fedcore.rounds import assignment, machine, modes, recovery
from fedcore.rounds.effects import Commit, Finish, WriteEvaluation
from fedcore.rounds.events import Configured, Heard, InitialModelFound, SiteFailed, Ticked
from fedcore.rounds.recovery import Log
from fedcore.rounds.state import Phase, State
from tests.unit.fedcore.rounds.test_round_rules import A, config, evaluated, kinds, ref


def begun(clients="ab", heard=None, **values) -> State:
    """Its sites were heard at time 10."""
    state = State(config(clients, rounds=0, **values), epoch=1)
    state, _ = machine.step(state, InitialModelFound(10.0, ref(A)))
    return machine.step(state, Heard(10.0, tuple(clients if heard is None else heard)))[0]


def told(state: State) -> list[str]:
    return [assignment.kind(state, client, None) for client in sorted(state.roster.by_name)]


def test_all_sites_evaluate_nobody_trains_and_then_it_is_over():
    state = begun(policy="Random", per_round=1)
    assert (state.phase, told(state)) == (Phase.EVALUATING, ["Evaluate", "Evaluate"])
    state, effects = evaluated(state, "a", 0, A, 0.9)
    assert (effects, told(state)) == ((), ["Wait", "Evaluate"])
    state, effects = evaluated(state, "b", 0, A, 0.7)
    assert kinds(effects) == [WriteEvaluation, Finish]
    assert effects[0].evaluation.clients == {"a": {"accuracy": 0.9}, "b": {"accuracy": 0.7}}
    assert (state.end.result, state.end.reason) == ("Succeeded", "Evaluated")
    assert told(state) == ["Done", "Done"]
    shown = status(state)
    assert (shown["round"]["progress"], shown["metrics"][0]["value"]) == ("0/0", "0.8")


@pytest.mark.parametrize(
    ("quorum", "result", "words"),
    [
        (
            "100%",
            "Failed",
            "1 of 2 sites have evaluated the model, 2 were needed (b: no evaluation before the deadline)",
        ),
        ("50%", "Succeeded", "1 of 2 sites have evaluated the model"),
        (1, "Succeeded", "1 of 2 sites have evaluated the model"),
    ],
)
def test_the_quorum_is_asked_for_at_the_deadline(quorum, result, words):
    state, _ = evaluated(begun(quorum=quorum), "a", 0, A, 0.9)
    assert machine.wakes_at(state) == 110.0, "round.deadline after it began"
    state, effects = machine.step(state, Ticked(109.0))
    assert (effects, state.phase) == ((), Phase.EVALUATING)
    state, effects = machine.step(state, Ticked(110.0))
    assert kinds(effects) == [WriteEvaluation, Finish]
    assert (state.end.result, state.end.message) == (result, words)


def test_who_cannot_is_not_waited_for_and_named():
    state, _ = evaluated(begun("abc"), "a", 0, A, 0.9)
    state, _ = machine.step(state, SiteFailed(20.0, "b", 0, 0, "TaskFailed", "no such file"))
    roster = tuple(RosterEntry(name=n, eligible=n != "c", reason="Paused" if n == "c" else "") for n in "abc")
    state, effects = machine.step(state, Configured(21.0, state.config.model_copy(update={"roster": roster})))
    assert effects[-1] == Finish(state.end)
    assert state.end.result == "Failed"
    assert "1 of 3 sites" in state.end.message
    assert "(b: TaskFailed: no such file; c: Paused)" in state.end.message


def test_nobody_measured_is_no_success():
    state, effects = machine.step(begun(), Ticked(110.0))
    assert kinds(effects) == [Finish]
    assert (state.end.result, state.end.reason) == ("Failed", "QuorumNotReached")


def test_it_begins_when_as_many_sites_are_there_as_a_first_round_waits_for():
    state = begun(heard="a", min_available=2)
    assert (state.phase, told(state)) == (Phase.WAITING, ["Wait", "Wait"])
    state, _ = machine.step(state, Heard(11.0, ("b",)))
    assert state.phase is Phase.EVALUATING
    nobody = begun("")
    assert (nobody.phase, machine.step(nobody, Ticked(1e6))[0].phase) == (Phase.WAITING, Phase.WAITING)


def test_with_lifetime_round_the_operator_is_told_whom_to_start():
    state = begun(heard="", lifetime="Round")
    state, _ = machine.step(state, Ticked(11.0))
    assert {name: status(state)["round"][name] for name in ("step", "selected")} == {
        "step": "Evaluate", "selected": ["a", "b"],
    }  # fmt: skip


@pytest.mark.parametrize(
    "values", [{"download": Encoding(codec="Float16")}, {"strategy": StrategySettings(name="FedBuff")}]
)
def test_what_is_about_rounds_changes_nothing(values):
    step = modes.mode(config(**values).strategy.name).step
    state = State(config(rounds=0, **values), epoch=1)
    state, effects = step(state, InitialModelFound(10.0, ref(A)))
    assert kinds(effects) == [Commit]
    assert step(state, Heard(10.0, ("a", "b")))[0].phase is Phase.EVALUATING


def test_after_a_restart_those_that_have_answered_are_not_asked_again():
    state, _ = evaluated(begun(), "a", 0, A, 0.9)
    head = Head(epoch=2, round=0, commit_sha256=state.tip_sha256)
    log = Log(head, commits=(state.tip,), reports=tuple(state.reports.values()))
    again, effects = recovery.recovered(state.config, log, 30.0)
    assert effects == ()
    again, _ = machine.step(again, Heard(31.0, ("a", "b")))
    assert told(again) == ["Wait", "Evaluate"]
    assert evaluated(again, "b", 0, A, 0.7)[0].end.message == "2 of 2 sites have evaluated the model"
