"""Anomalous updates in the life of a round: who is left out, what is recorded, and whom that suspends, for how long."""

from dataclasses import replace

from fedapi.wire.anomalies import Anomaly, AnomalySettings, Fact, Readmission
from fedapi.wire.store import Head
from fedcore.anomalies.record import Judged
from fedcore.rounds import machine, recovery
from fedcore.rounds.closing import QUORUM_NOT_REACHED
from fedcore.rounds.effects import Commit, Fold, WriteFailure, WritePlan
from fedcore.rounds.events import Configured, Folded, FoldFailed, Ticked
from fedcore.rounds.recovery import Log
from tests.unit.fedcore.rounds import test_round_rules as rules

SITES = "abcd"
SUSPEND = AnomalySettings(action="Suspend")


def anomaly(client, action, attempt=1, norm=90.0):
    fact = Fact(kind="NormAboveOthers", value=90.0, limit=10.0)
    return Anomaly(client=client, attempt=attempt, action=action, norm=norm, facts=(fact,))


def judged(action, *clients, attempt=1):
    norms = {client: 90.0 if client in clients else 1.0 for client in SITES}
    return Judged(norms, tuple(anomaly(client, action, attempt) for client in clients))


def folding(settings=SUSPEND, **values):
    state = rules.collecting(SITES, **{"anomalies": settings, "quorum": 3, "rounds": 5, "min_available": 1} | values)
    return closed(state)


def closed(state):
    effects = ()
    for client in state.current.plan.selected:
        state, effects = rules.accept(state, client)
    return state, next(effect for effect in effects if isinstance(effect, Fold))


def folded(state, verdict, now=30.0):
    plan = state.current.plan
    return machine.step(state, Folded(now, plan.round, plan.attempt, rules.ref(rules.B), judged=verdict))


def commit_of(effects):
    return next(effect.commit for effect in effects if isinstance(effect, Commit))


def plan_of(effects):
    return next(effect.plan for effect in effects if isinstance(effect, WritePlan))


def restarted(state, *commits):
    log = Log(head=Head(epoch=2, round=commits[-1].round), commits=commits)
    return recovery.recovered(state.config, log, 50.0)[0]


def test_a_fold_is_told_by_what_its_updates_are_judged():
    state, order = folding()
    assert order.judging.settings == state.current.plan.anomalies == SUSPEND
    assert (order.judging.usual, order.judging.quorum) == ({}, 3)
    state, _ = folded(state, judged("Suspend"))
    _, order = closed(state)
    assert order.judging.usual == dict.fromkeys(SITES, (1.0,))
    assert folding(None)[1].judging is None


def test_who_is_excluded_is_not_in_the_commit_and_has_missed_it():
    state, _ = folding(AnomalySettings(action="Exclude"))
    state, effects = folded(state, judged("Exclude", "d"))
    commit = commit_of(effects)
    assert [each.client for each in commit.participants] == ["a", "b", "c"]
    assert (commit.missed, commit.total_samples) == (("d",), 15)
    assert [each.norm for each in commit.participants] == [1.0] * 3
    assert commit.lost_s == 2.0
    assert state.site("d").failures == 1
    assert "refused: its update of round 1 is anomalous: NormAboveOthers" in state.site("d").message
    assert plan_of(effects).selected == tuple(SITES), "it is asked again"


def test_a_warning_changes_nothing_but_what_is_usual():
    state, _ = folding(AnomalySettings())
    state, effects = folded(state, judged("Warn", "d"))
    assert [each.client for each in commit_of(effects).participants] == list(SITES)
    assert state.site("d").failures == 0
    _, order = closed(state)
    assert "d" not in order.judging.usual


def test_a_suspended_site_is_selected_no_more_whatever_happens():
    state, _ = folding()
    first = state.tip
    state, effects = folded(state, judged("Suspend", "d"))
    commit = commit_of(effects)
    assert plan_of(effects).selected == ("a", "b", "c")
    assert state.roster.suspended == {"d"}
    again = restarted(state, first, commit)
    assert again.roster.suspended == {"d"}
    assert again.anomalies.recent == state.anomalies.recent
    assert again.site("a").part.norms == state.site("a").part.norms == ((1, 1.0),)


def test_a_rollback_does_not_lift_it():
    state, _ = folding()
    state, effects = folded(state, judged("Suspend", "d"))
    nothing = {"round": 2, "rolled_back_to": 0, "anomalies": (), "participants": ()}
    assert restarted(state, commit_of(effects), state.tip.model_copy(update=nothing)).roster.suspended == {"d"}


def test_it_is_readmitted_up_to_a_round():
    state, _ = folding()
    state, _ = folded(state, judged("Suspend", "d"))
    settings = SUSPEND.model_copy(update={"readmit": (Readmission(client="d", through_round=1),)})
    state, _ = machine.step(state, Configured(31.0, state.config.model_copy(update={"anomalies": settings})))
    assert state.roster.suspended == frozenset()
    state, _ = folded(closed(state)[0], judged("Suspend", "c"))
    assert state.roster.suspended == {"c"}
    later = replace(state, anomalies=state.anomalies.with_newer(2, 40.0, [anomaly("d", "Suspend")]))
    assert later.roster.suspended == {"c", "d"}, "a later anomaly suspends it again"
    removed = replace(later, config=state.config.model_copy(update={"anomalies": None}))
    assert removed.roster.suspended == frozenset()


def test_what_a_readmitted_site_has_sent_before_says_no_more_what_is_usual_of_it():
    settings = SUSPEND.model_copy(update={"readmit": (Readmission(client="d", through_round=1),)})
    state, _ = folding(settings)
    state, _ = folded(state, judged("Suspend"))
    _, order = closed(state)
    assert order.judging.usual == dict.fromkeys("abc", (1.0,))


def test_an_attempt_without_quorum_suspends_and_its_round_records_it():
    state, _ = folding(quorum=4, max_failures=3)
    message = "round 1 left out anomalous updates of d: 3 are left, 4 were needed"
    state, effects = machine.step(state, FoldFailed(30.0, 1, 1, QUORUM_NOT_REACHED, message, judged("Suspend", "d")))
    failure = next(effect.failure for effect in effects if isinstance(effect, WriteFailure))
    assert (failure.missed, [each.client for each in failure.anomalies]) == (("d",), ["d"])
    assert state.roster.suspended == {"d"}
    assert not any(isinstance(effect, WritePlan) for effect in effects), "a count of 4 sites is not there any more"
    state, effects = machine.step(state, Configured(31.0, state.config.model_copy(update={"quorum": 3})))
    assert plan_of(effects).selected == ("a", "b", "c")
    state, effects = folded(closed(state)[0], judged("Suspend", attempt=2))
    assert [each.client for each in commit_of(effects).anomalies] == ["d"]
    assert (state.anomalies.total, state.roster.suspended) == (1, {"d"})
    assert machine.step(state, Ticked(60.0))[0].known_anomalies.total == 1
