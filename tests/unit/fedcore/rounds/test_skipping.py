"""Rounds that nobody takes part in: empty draws, and too few sites that are due. They are committed, paced, and end like others."""

from dataclasses import replace
from itertools import pairwise

from fedapi.wire.roster import RosterEntry
from fedapi.wire.strategy import StrategySettings
from fedcore.rounds import machine, skipping
from fedcore.rounds.effects import Commit, Discard, Finish, WriteEvaluation, WritePlan
from fedcore.rounds.events import Configured, Folded, Heard, InitialModelFound, Ticked
from fedcore.rounds.state import Phase, State
from fedcore.selection import choice
from fedcore.selection.candidates import Candidate
from fedcore.strategies import table
from tests.unit.fedcore.rounds import test_round_rules as rules


def paced(every: dict[str, int], **values) -> State:
    """Round 1 is planned at time 10; by their own frequency."""
    roster = tuple(RosterEntry(name=name, every_rounds=rounds) for name, rounds in every.items())
    config = rules.config(tuple(every), **{"rounds": 5, "min_available": 1} | values).model_copy(
        update={"roster": roster}
    )
    state, _ = machine.step(State(config, epoch=1), InitialModelFound(10.0, rules.ref(rules.A)))
    state, _ = machine.step(state, Heard(10.0, tuple(every)))
    return state


def committed(state: State, now: float, model: str = rules.B):
    """All selected sites deliver and the round is folded."""
    for client in state.current.plan.selected:
        state, _ = rules.accept(state, client, now)
    plan = state.current.plan
    return machine.step(state, Folded(now, plan.round, plan.attempt, rules.ref(model)))


def test_a_site_takes_part_at_most_every_so_many_rounds():
    state, drawn = paced({"a": 1, "b": 3}), []
    for step in range(4):
        drawn.append(state.current.plan.selected)
        state, _ = committed(state, 20.0 + step)
    assert drawn == [("a", "b"), ("a",), ("a",), ("a", "b")]


def test_a_failed_attempt_is_no_round_to_be_spared_after():
    state = paced({"a": 2, "b": 2}, max_failures=3)
    state, _ = machine.step(state, Ticked(110.0))
    assert (state.current.plan.round, state.current.plan.attempt, state.current.plan.selected) == (1, 2, ("a", "b"))


def test_a_round_in_which_nobody_is_due_is_skipped_and_the_next_one_is_planned():
    state = paced({"a": 2, "b": 2})
    state, effects = committed(state, 20.0)
    assert rules.kinds(effects) == [Commit, Discard, Commit, Discard, WritePlan]
    skip = effects[2].commit
    assert (skip.round, skip.skipped, skip.participants, skip.model) == (2, skipping.NOBODY_DUE, (), rules.ref(rules.B))
    assert skip.previous_sha256 == effects[0].commit.digest()
    assert state.current.plan.round == 3
    assert not {"missed", "skipped", "lost_s"} & effects[0].commit.model_dump().keys()


def test_fewer_than_the_quorum_s_count_are_no_round():
    state = paced({"a": 1, "b": 2, "c": 2}, quorum=2)
    state, effects = committed(state, 20.0)
    assert [e.commit.skipped for e in effects if isinstance(e, Commit)] == ["", skipping.NOBODY_DUE]
    assert state.current.plan.selected == ("a", "b", "c")


def test_rounds_in_a_row_are_skipped_one_a_second():
    state = paced({"a": 4}, rounds=9)
    state, effects = committed(state, 20.0)
    assert [e.commit.round for e in effects if isinstance(e, Commit)] == [1, 2]
    assert (state.phase, machine.wakes_at(state)) == (Phase.WAITING, 20.0 + skipping.PAUSE_S)
    assert machine.step(state, Ticked(20.5))[1] == ()
    state, effects = machine.step(state, Ticked(21.0))
    assert [e.commit.round for e in effects if isinstance(e, Commit)] == [3]
    silent, _ = machine.step(replace(state, sites={}), Ticked(21.5))
    assert silent.skip.at == 22.0, "a site that was not heard from yet is on its way"
    gone, _ = machine.step(replace(state, config=state.config.model_copy(update={"roster": ()})), Ticked(22.0))
    assert machine.wakes_at(gone) is None, "nobody is there: nothing is to be done at a time"
    state, effects = machine.step(state, Ticked(22.0))
    assert rules.kinds(effects) == [Commit, Discard, WritePlan]
    assert state.current.plan.round == 5


def test_an_empty_draw_is_a_round():
    config = {"policy": "Poisson", "fraction": 0.3, "quorum": "50%", "rounds": 60, "seed": 3}
    state, now = paced({"a": 1, "b": 1}, **config), 10.0
    skips, sizes = 0, []
    while state.phase is not Phase.EVALUATING:
        now = now + 1.0 if state.current else max(now, machine.wakes_at(state) or now)
        if state.current:
            sizes.append(len(state.current.plan.selected))
            state, effects = committed(state, now)
        else:
            state, effects = machine.step(state, Heard(now, ("a", "b")))
        skips += sum(bool(e.commit.skipped) for e in effects if isinstance(e, Commit))
    assert state.tip.round == 60 == skips + len(sizes)
    assert 20 < skips < 40, "(1 - 0.3)^2 = 0.49 of the draws are empty"
    assert set(sizes) == {1, 2}
    names = [[*choice.selected(state.config, map(Candidate, "ab"), round_, 1)] for round_ in range(1, 61)]
    assert [len(chosen) for chosen in names if chosen] == sizes, "nothing but the seed decides"


def test_a_draw_that_is_too_small_for_the_strategy_is_a_round_that_nobody_takes_part_in():
    """It is no attempt that fails: the job would come to its end by chance."""
    krum = StrategySettings(name="Krum", parameters={"byzantine": 1.0})
    poisson = {"policy": "Poisson", "fraction": 0.5, "quorum": "50%", "strategy": krum, "rounds": 40, "max_failures": 0}
    state, now, sizes, reasons = paced(dict.fromkeys("abcdefg", 1), **poisson), 10.0, [], set()
    while state.phase is not Phase.EVALUATING:
        now = now + 1.0 if state.current else max(now, machine.wakes_at(state) or now)
        if state.current:
            sizes.append(len(state.current.plan.selected))
            state, effects = committed(state, now)
        else:
            state, effects = machine.step(state, Heard(now, tuple("abcdefg")))
        reasons |= {e.commit.skipped for e in effects if isinstance(e, Commit)}
    assert state.closing.end.reason == "RoundsCompleted"
    assert min(sizes) >= table.fewest(krum) > 1
    assert skipping.SMALL_DRAW in reasons


def test_a_round_that_waits_to_be_skipped_is_not_drawn_again_before_something_changes(monkeypatch):
    """It is looked at four times a second, and with each message: ten thousand lots each time were a quarter of a second."""
    draws = []

    def counted(*args):
        draws.append(args)
        return choice_of(*args)

    choice_of = choice.selected
    monkeypatch.setattr(choice, "selected", counted)
    rare = {"policy": "Poisson", "fraction": 1e-9, "quorum": "50%", "rounds": 9, "deadline_s": 1000.0}
    state = paced({"a": 1, "b": 1, "c": 1}, **rare)
    for _ in range(6):
        at = machine.wakes_at(state)
        state, _ = machine.step(state, Heard(at, ("a", "c")))
    assert machine.wakes_at(state) > at + 25.0
    draws.clear()
    for quarter in range(100):
        state, _ = machine.step(state, Ticked(at + quarter / 4))
        state, _ = machine.step(state, Heard(at + quarter / 4, ("a",)))
        assert not draws, "nobody came"
    silent = state.with_site("b", replace(state.site("b"), heard_at=at - 1000.0))
    machine.step(silent, Heard(at + 25.0, ("b",)))
    assert len(draws) == 1, "who was silent is here again"
    now = state.config.model_copy(update={"fraction": 1.0})
    asked, effects = machine.step(state, Configured(at + 25.0, now))
    assert (rules.kinds(effects), asked.current.plan.selected) == ([WritePlan], ("a", "b", "c"))
    draws.clear()
    machine.step(state, Ticked(machine.wakes_at(state)))
    assert len(draws) == 2, "the round is skipped, and the next one drawn"


def test_empty_draws_in_a_row_come_ever_more_slowly():
    """A job whose sites are away but for one does not use up its rounds."""
    state, now = paced({"a": 1}, policy="Poisson", fraction=1e-9, quorum="50%", rounds=1000, deadline_s=60.0), 10.0
    times = [state.tip.committed_at]
    while state.tip.round < 10:
        now = machine.wakes_at(state)
        state, _ = machine.step(state, Heard(now, ("a",)))
        times.append(state.tip.committed_at)
    assert [after - before for before, after in pairwise(times)] == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]


def test_where_a_site_is_due_that_is_silent_the_deadline_is_waited_for_it():
    state = paced({"a": 1, "b": 3}, quorum=1, deadline_s=1000.0)
    for client in "ab":
        state, _ = rules.accept(state, client)
    state, _ = machine.step(state, Heard(900.0, ("b",)))  # a was heard last at 10
    state, effects = machine.step(state, Folded(900.0, 1, 1, rules.ref(rules.B)))
    assert rules.kinds(effects) == [Commit, Discard]
    assert machine.wakes_at(state) == 1900.0
    back, effects = machine.step(state, Heard(950.0, ("a",)))
    assert rules.kinds(effects) == [WritePlan]
    assert back.current.plan.selected == ("a",)
    state, _ = machine.step(state, Heard(1899.0, ("b",)))
    _, effects = machine.step(state, Ticked(1900.0))
    assert [e.commit.skipped for e in effects if isinstance(e, Commit)] == [skipping.NOBODY_DUE]


def test_the_last_rounds_may_be_skipped_and_the_last_model_is_evaluated_all_the_same():
    state = paced({"a": 2, "b": 2}, rounds=2)
    state, effects = committed(state, 20.0)
    assert rules.kinds(effects) == [Commit, Discard, Commit, Discard]
    assert (state.phase, state.closing.expected) == (Phase.EVALUATING, {"a", "b"})
    for client in "ab":
        state, effects = rules.evaluated(state, client, 2, rules.B, 0.5)
    assert rules.kinds(effects) == [WriteEvaluation, Finish]
