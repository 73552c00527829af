"""More sites are asked than are wanted, and the round closes at the count that is wanted; overrides go with the plan."""

from dataclasses import replace

from fedapi.wire.roster import RosterEntry
from fedapi.wire.store import Head
from fedapi.wire.training import TrainingOverride, TrainingSettings
from fedcore.rounds import assignment, machine, recovery
from fedcore.rounds.effects import Commit, Discard, Fold, WriteClose, WriteFailure, WritePlan
from fedcore.rounds.events import Folded, Ticked
from fedcore.rounds.recovery import Log
from tests.unit.fedcore.rounds import test_round_rules as rules

SITES = "abcdefgh"
OVER = {"policy": "Random", "per_round": 3, "over_selection": 1.5, "min_available": 1, "rounds": 3}


def test_the_round_closes_when_as_many_updates_are_there_as_are_wanted():
    state = rules.collecting(SITES, quorum="60%", **OVER)
    plan = state.current.plan
    assert (len(plan.selected), plan.wanted, plan.quorum) == (5, 3, 2)
    one, two, three, late, idle = plan.selected
    for client in (three, one):
        state, effects = rules.accept(state, client)
        assert effects == ()
    state, effects = rules.accept(state, two)
    assert rules.kinds(effects) == [WriteClose, Fold]
    assert (effects[0].close.accepted, effects[0].close.reason) == ((one, two, three), "Wanted")
    assert assignment.kind(state, late, (1, 1)) == "Drop"
    state, effects = machine.step(state, Folded(21.0, 1, 1, rules.ref(rules.B)))
    assert rules.kinds(effects) == [Commit, Discard, WritePlan]
    assert effects[0].commit.missed == (late, idle)
    assert (state.site(late).part.missed, state.site(one).part.missed) == (1, 0)


def test_quorum_is_of_what_is_wanted_and_the_deadline_as_ever():
    state = rules.collecting(SITES, quorum="100%", **OVER)
    assert state.current.quorum == 3
    for client in state.current.plan.selected[:2]:
        state, _ = rules.accept(state, client)
    state, effects = machine.step(state, Ticked(110.0))
    assert rules.kinds(effects) == [WriteFailure, WritePlan]
    assert len(effects[0].failure.missed) == 3


def test_without_over_selection_a_plan_says_nothing_of_it():
    plan = rules.collecting("ab").current.plan
    assert plan.wanted is None
    assert not {"wanted", "overrides"} & plan.model_dump().keys()


def test_an_update_that_was_durable_beyond_the_wanted_counts_after_a_restart_unless_the_close_says_otherwise():
    state = rules.collecting(SITES, quorum="60%", **OVER)
    plan = state.current.plan
    manifests = tuple(rules.manifest(state, client) for client in plan.selected[:4])
    for client in plan.selected[:3]:
        state, effects = rules.accept(state, client)
    close = effects[0].close
    log = Log(
        Head(epoch=2, round=0, commit_sha256=state.tip_sha256),
        (state.tip,),
        plans=(plan,),
        manifests=manifests,
        closes=(close,),
    )
    _, (fold,) = recovery.recovered(state.config, log, 50.0)
    assert tuple(term.client for term in fold.terms) == plan.selected[:3]
    _, effects = machine.step(recovery.recovered(state.config, replace(log, closes=()), 50.0)[0], Ticked(50.0))
    assert effects[0].close.accepted == plan.selected[:4]


def test_what_some_sites_do_otherwise_is_frozen_in_the_plan():
    table = (TrainingOverride(batch_size=4), TrainingOverride(local_steps=7))
    training = TrainingSettings(epochs=3, batch_size=32)
    roster = (RosterEntry(name="a"), RosterEntry(name="b", override=1), RosterEntry(name="c", override=0))
    config = {"training": training, "overrides": table, "roster": roster}
    state = rules.collecting("abc")
    state = replace(state, config=state.config.model_copy(update=config))
    told = {client: state.training_of(client) for client in "abcz"}
    assert (told["a"], told["z"]) == (training, training)
    state, _ = machine.step(state, Ticked(110.0))
    plan = state.current.plan
    assert [each.clients for each in plan.overrides] == [("c",), ("b",)]
    state = replace(state, config=state.config.model_copy(update={"overrides": ()}))
    plan = state.current.plan
    assert {client: plan.training_of(client) for client in "abcz"} == told
    assert (told["c"].batch_size, told["c"].epochs) == (4, 3)
    assert (told["b"].batch_size, told["b"].epochs, told["b"].local_steps) == (32, None, 7)
    assert state.training_of("b") == training
    again = type(plan).stored(plan.sealed().canonical())
    assert again.training_of("c") == told["c"]
