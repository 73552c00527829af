"""training.lifetime Round at the aggregator: nobody is waited for before a plan, and the plan tells whose Jobs to make."""

import pytest

from fedaggregator.status import status
from fedapi.crd.job_status import MAX_LISTED, MAX_SELECTED, FederatedJobStatus
from fedapi.wire.roster import RosterEntry
from fedcore.rounds import machine, planning, recovery
from fedcore.rounds.effects import Commit, Discard, Finish, WriteFailure, WritePlan
from fedcore.rounds.events import Configured, Folded, Heard, InitialModelFound, Ticked
from fedcore.rounds.state import Phase, State
from fedcore.selection import choice
from fedcore.selection.candidates import Candidate
from tests.unit.fedcore.rounds import test_round_rules as rules


def by_round(clients="ab", **values) -> State:
    """Round 1 is planned at time 10, before any site was heard."""
    state = State(rules.config(clients, lifetime="Round", **values), epoch=1)
    state, effects = machine.step(state, InitialModelFound(10.0, rules.ref(rules.A)))
    assert rules.kinds(effects) == [Commit, WritePlan]
    return state


def test_round_one_begins_when_enough_sites_are_eligible():
    roster = (RosterEntry(name="a"), RosterEntry(name="b", eligible=False, reason="DataMissing"))
    one_out = rules.config("ab", lifetime="Round", min_available=2).model_copy(update={"roster": roster})
    state = State(one_out, epoch=1)
    state, effects = machine.step(state, InitialModelFound(1.0, rules.ref(rules.A)))
    assert (rules.kinds(effects), planning.missing_sites(state, 1.0)) == ([Commit], 1)
    state, effects = machine.step(state, Configured(2.0, rules.config("ab", lifetime="Round", min_available=2)))
    assert rules.kinds(effects) == [WritePlan]
    assert effects[0].plan.selected == ("a", "b")


def test_silence_between_rounds_is_no_loss():
    state = by_round(rounds=3, deadline_s=5000.0)
    for client in "ab":
        state, _ = machine.step(state, Heard(20.0, (client,)))
        state, _ = rules.accept(state, client)
    state, effects = machine.step(state, Folded(4000.0, 1, 1, rules.ref(rules.B)))
    assert rules.kinds(effects) == [Commit, Discard, WritePlan]
    assert state.current.plan.selected == ("a", "b")  # last heard more than an hour ago


def test_a_site_that_never_comes_is_the_deadlines():
    state, _ = rules.accept(by_round(max_failures=1), "a")
    state, effects = machine.step(state, Ticked(110.0))
    assert rules.kinds(effects) == [WriteFailure, WritePlan]
    assert effects[1].plan.selected == ("a", "b")


@pytest.mark.parametrize(
    ("values", "sites", "count"),
    [
        ({}, 1500, MAX_SELECTED),
        ({"policy": "Random", "fraction": 0.5}, 1500, 750),
        ({"policy": "Random", "fraction": 0.9}, 1500, MAX_SELECTED),
        ({"policy": "Random", "per_round": 3}, 1500, 3),
    ],
)
def test_a_round_takes_as_many_sites_as_the_status_can_name(values, sites, count):
    names = [Candidate(f"s{i:04}") for i in range(sites)]
    chosen = choice.selected(rules.config(lifetime="Round", **values), names, 1, 1)
    assert len(chosen) == count
    assert len(choice.selected(rules.config(), names, 1, 1)) == sites


def told(state: State) -> tuple[object, ...]:
    shown = status(state)
    FederatedJobStatus.model_validate(shown)
    plan = shown["round"]
    return plan["current"], plan["attempt"], plan.get("step"), tuple(plan["selected"])


def test_the_status_names_every_step_and_its_sites():
    state = State(rules.config(lifetime="Round", rounds=1), epoch=1)
    assert told(state) == (0, 1, None, ())
    state = by_round(rounds=1, max_failures=3)
    assert told(state) == (1, 1, "Train", ("a", "b"))
    state, _ = machine.step(state, Ticked(110.0))
    assert told(state) == (1, 2, "Train", ("a", "b"))
    for client in "ab":
        state, _ = rules.accept(state, client, now=120.0)
    assert told(state) == (1, 2, "Train", ("a", "b"))  # the fold is under way
    state, _ = machine.step(state, Folded(130.0, 1, 2, rules.ref(rules.B)))
    assert told(state) == (1, 2, "Evaluate", ("a", "b"))
    assert status(state)["round"]["deadline"] == "1970-01-01T00:03:50Z"  # pools take as long to get as for a round
    state, _ = rules.evaluated(state, "a", 1, rules.B, 0.5, now=140.0)
    assert told(state) == (1, 2, "Evaluate", ("a", "b"))  # no Job is taken away while it reports
    state, effects = rules.evaluated(state, "b", 1, rules.B, 0.5, now=150.0)
    assert isinstance(effects[-1], Finish)
    assert told(state) == (1, 2, None, ())


def test_a_restarted_aggregator_tells_the_same_step():
    state = by_round()
    head = {"epoch": 2, "round": 0, "commit_sha256": state.tip.digest()}
    log = recovery.Log(recovery.Head(**head), commits=(state.tip,), plans=(state.current.plan,))
    again, _ = recovery.recovered(state.config, log, 500.0)
    assert again.phase is Phase.COLLECTING
    assert told(again) == told(state)


def test_all_selected_sites_are_listed_where_jobs_depend_on_it():
    names = [f"s{i:03}" for i in range(150)]
    assert len(status(by_round(names))["round"]["selected"]) == 150
    assert len(status(rules.collecting(names))["round"]["selected"]) == MAX_LISTED


def test_a_site_is_training_from_when_its_new_process_is_heard():
    def states(state: State) -> list[str]:
        return [entry["state"] for entry in sorted(status(state)["clients"], key=lambda entry: entry["name"])]

    state = by_round("ab", rounds=2, policy="Random", per_round=1)
    (first,) = state.current.plan.selected
    assert sorted(states(state)) == ["Idle", "Waiting"]
    state, _ = machine.step(state, Heard(20.0, (first,)))
    assert sorted(states(state)) == ["Idle", "Training"]
    state, _ = rules.accept(state, first)
    state, _ = machine.step(state, Folded(40.0, 1, 1, rules.ref(rules.B)))
    assert sorted(states(state)) == ["Idle", "Waiting"]
    (second,) = state.current.plan.selected
    state, _ = machine.step(state, Heard(50.0, (second,)))
    assert sorted(states(state)) == ["Idle", "Training"]
