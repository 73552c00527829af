"""Going back behind an anomaly: how far, without whom, how often, and what records it."""

import random
from dataclasses import replace

import pytest

from fedaggregator.status import status
from fedapi.wire.anomalies import AnomalySettings, MetricCollapse, Readmission, RollbackSettings, Undoing
from fedapi.wire.job import RollbackTo
from fedapi.wire.site import EvaluationReport
from fedapi.wire.store import Head
from fedcore.anomalies.record import Judged
from fedcore.rounds import machine, recovery
from fedcore.rounds.closing import QUORUM_NOT_REACHED
from fedcore.rounds.effects import Commit, FindRound, Finish, WriteEvaluation, WritePlan
from fedcore.rounds.events import Configured, Evaluated, Folded, FoldFailed, RoundFound, RoundLost, Ticked
from fedcore.rounds.recovery import Log
from fedcore.rounds.returns import Undone
from fedcore.rounds.state import Phase
from tests.unit.fedcore.rounds import test_round_rules as rules
from tests.unit.fedcore.rounds.test_anomalous_updates import SITES, anomaly

BACK = AnomalySettings(action="RollBack", rollback=RollbackSettings(lookback_rounds=3, max_rollbacks=2))
COLLAPSE = MetricCollapse(metric="accuracy", tolerance=0.2)
WATCHED = BACK.model_copy(update={"rollback": RollbackSettings(lookback_rounds=3, collapse=COLLAPSE)})


class Life:
    """A job that is taken from event to event, its commits, and what it asked for."""

    def __init__(self, settings=BACK, **values):
        defaults = {"anomalies": settings, "quorum": 2, "rounds": 20, "min_available": 1, "max_failures": 3}
        self.state = rules.collecting(SITES, **defaults | values)
        self.commits = [self.state.tip]
        self.effects, self.evaluations = (), []

    def take(self, event):
        self.state, self.effects = machine.step(self.state, event)
        self.commits += [effect.commit for effect in self.effects if isinstance(effect, Commit)]
        self.evaluations += [effect.evaluation for effect in self.effects if isinstance(effect, WriteEvaluation)]
        return self.effects

    def round(self, *bad, long=(), accuracy=None):
        """All deliver, and their updates are judged; `accuracy`: of the model that the round began with."""
        plan = self.state.current.plan
        if accuracy is not None:
            self.evaluated(accuracy)
        for client in plan.selected:
            self.state, _ = rules.accept(self.state, client)
        norms = {client: 90.0 if client in bad else 5.0 if client in long else 1.0 for client in plan.selected}
        judged = Judged(norms, tuple(anomaly(client, "RollBack", plan.attempt) for client in bad))
        sha256 = f"{plan.round:064x}"
        return self.take(Folded(30.0, plan.round, plan.attempt, rules.ref(sha256), judged=judged))

    def evaluated(self, accuracy):
        for client in sorted(self.state.roster.eligible):
            values = {"model_sha256": self.state.tip.model.sha256, "samples": 1, "metrics": {"accuracy": accuracy}}
            report = EvaluationReport(job_uid="uid", round=self.state.tip.round, client=client, **values)
            self.take(Evaluated(25.0, report))

    @property
    def sought(self):
        return next((effect.asked.round for effect in self.effects if isinstance(effect, FindRound)), None)

    def found(self):
        """The round that is looked for is whole."""
        asked = self.state.undoing.asked
        return self.take(RoundFound(41.0, asked, self.commits[asked.round], {}))

    @property
    def told(self):
        return status(self.state)["anomalies"].get("rollbacks", [])

    def restarted(self):
        tip = self.commits[-1]
        head = Head(epoch=2, round=tip.round, commit_sha256=tip.digest())
        return recovery.recovered(
            self.state.config, Log(head, tuple(self.commits), evaluations=tuple(self.evaluations)), 60.0
        )[0]


def plan_of(effects):
    return next(effect.plan for effect in effects if isinstance(effect, WritePlan))


def test_the_job_goes_back_to_before_the_sites_updates_and_on_without_it():
    life = Life()
    life.round()
    life.round()
    effects = life.round("d")
    assert life.sought == 0
    assert not any(isinstance(effect, WritePlan) for effect in effects), "nobody trains for a model that is given up"
    assert life.take(Ticked(40.0)) == ()
    plan = plan_of(life.found())
    commit = life.commits[-1]
    assert (commit.round, commit.rolled_back_to, commit.model) == (4, 0, life.commits[0].model)
    (undoing,) = commit.undoings
    assert (undoing.cause, undoing.client, undoing.round, undoing.to, undoing.rounds) == (
        "AnomalousUpdate", "d", 3, 0, (1, 2, 3)
    )  # fmt: skip
    assert (plan.round, plan.selected) == (5, ("a", "b", "c"))
    (told,) = life.told
    assert (told["result"], told["client"], told["to"], told["undone"], told["committed"]) == ("Done", "d", 0, 3, 4)
    assert told["message"] == (
        "an update of d for round 3 is anomalous: round 4 has the model of round 0, rounds 1, 2, 3 are undone, and d is suspended"
    )
    assert status(life.state)["round"]["progress"] == "4/24", "20 rounds, and 4 numbers that are in the model no more"


def test_it_goes_back_no_further_than_asked_for_and_once_for_an_anomaly():
    life = Life()
    for _ in range(5):
        life.round()
    life.round("d")
    assert life.sought == 3, "of the last three rounds, 4, 5 and 6, two have an update of it"
    life.found()
    for _ in range(4):
        life.round()
        assert life.sought is None
    assert [commit.rolled_back_to for commit in life.commits if commit.rolled_back_to is not None] == [3]


def test_whose_updates_are_in_no_model_undoes_nothing():
    life = Life()
    effects = life.round("d")
    assert life.sought is None
    assert plan_of(effects).selected == ("a", "b", "c")
    assert life.told == []


def test_several_sites_of_a_round_are_one_way_back():
    life = Life()
    life.round()
    life.round("c", "d")
    assert life.sought == 0
    life.found()
    assert [each.client for each in life.commits[-1].undoings] == ["c", "d"]
    assert [each["client"] for each in life.told] == ["d", "c"]
    assert life.state.current.plan.selected == ("a", "b")


def test_it_goes_back_so_often_and_tells_of_the_rest():
    life = Life(quorum=1)
    for client in "dcb":
        life.round()
        life.round(client)
        if life.sought is not None:
            life.found()
    life.round()
    assert [commit.rolled_back_to for commit in life.commits if commit.rolled_back_to is not None] == [0, 0]
    assert life.told[0]["result"] == "Refused"
    assert "the job went back 2 times (spec.anomalies.rollBack.maxRollbacks)" in life.told[0]["message"]
    assert life.state.roster.suspended == {"b", "c", "d"}, "it is suspended all the same"


def test_an_attempt_without_quorum_makes_it_go_back_too():
    life = Life(quorum=4)
    life.round()
    plan = life.state.current.plan
    for client in plan.selected:
        life.state, _ = rules.accept(life.state, client)
    judged = Judged(dict.fromkeys(SITES, 1.0), (anomaly("d", "RollBack"),))
    life.take(FoldFailed(30.0, plan.round, plan.attempt, QUORUM_NOT_REACHED, "3 are left, 4 were needed", judged))
    assert life.sought == 0
    life.found()
    commit = life.commits[-1]
    assert ([each.client for each in commit.anomalies], commit.rolled_back_to) == (["d"], 0)
    assert life.state.known_anomalies.total == 1


def test_after_the_last_round_it_goes_back_and_makes_what_is_missing():
    life = Life(rounds=2)
    life.round()
    effects = life.round("d")
    assert (life.state.phase, life.sought) == (Phase.EVALUATING, 0)
    assert Finish not in rules.kinds(effects)
    assert plan_of(life.found()).selected == ("a", "b", "c")
    assert life.state.closing is None
    life.round()
    life.round()
    assert life.state.phase is Phase.EVALUATING
    assert life.state.closing.end.message == "5 of 5 rounds are committed"


def test_a_restart_asks_for_the_same_and_knows_what_was_decided():
    life = Life()
    life.round()
    life.round("d")
    again, effects = machine.step(life.restarted(), Ticked(61.0))
    assert rules.kinds(effects) == [FindRound]
    assert again.undoing.asked == RollbackTo(round=0)
    life.found()
    again, effects = machine.step(life.restarted(), Ticked(61.0))
    assert (again.undone, again.line) == (life.state.undone, life.state.line)
    assert rules.kinds(effects) == [WritePlan]


def test_a_model_that_is_lost_is_told_once_and_training_goes_on_without_the_site():
    life = Life()
    life.round()
    life.round("d")
    effects = life.take(RoundLost(41.0, RollbackTo(round=0), "models/x: its SHA-256 is …"))
    assert plan_of(effects).selected == ("a", "b", "c")
    life.round()
    assert [(each.client, each.refused) for each in life.commits[-1].undoings] == [("d", "models/x: its SHA-256 is …")]
    assert life.sought is None
    assert rules.kinds(machine.step(life.restarted(), Ticked(61.0))[1]) == [WritePlan]


def test_a_model_that_is_not_kept_is_refused_with_those_that_are():
    life = Life(history_keep=2)
    for _ in range(3):
        life.round()
    life.round("d")
    assert life.sought is None
    life.round()
    assert "the model of round 1 is not kept (spec.storage.history.keep): kept are 3" in life.told[0]["message"]


def test_who_sets_rollback_to_decides_of_anomalies_before():
    life = Life()
    life.round()
    life.round("d")
    asked = RollbackTo(round=1)
    life.take(Configured(40.0, life.state.config.model_copy(update={"rollback_to": asked})))
    life.take(RoundFound(41.0, asked, life.commits[1], {}))
    assert life.commits[-1].rolled_back_to == 1
    assert life.commits[-1].undoings == ()
    assert life.sought is None
    assert life.state.current.plan.selected == ("a", "b", "c"), "with round 1, and with an update of d in it"


def test_who_is_readmitted_meanwhile_undoes_nothing():
    life = Life()
    life.round()
    life.round("d")
    settings = BACK.model_copy(update={"readmit": (Readmission(client="d", through_round=2),)})
    effects = life.take(Configured(40.0, life.state.config.model_copy(update={"anomalies": settings})))
    assert plan_of(effects).selected == tuple(SITES)
    assert life.state.undoing is None


def test_another_action_undoes_nothing():
    settings = AnomalySettings(action="Suspend")
    life = Life(settings)
    life.round()
    plan = life.state.current.plan
    for client in plan.selected:
        life.state, _ = rules.accept(life.state, client)
    judged = Judged(dict.fromkeys(SITES, 1.0), (anomaly("d", "Suspend"),))
    life.take(Folded(30.0, plan.round, plan.attempt, rules.ref(rules.B), judged=judged))
    assert life.sought is None
    life.take(Configured(40.0, life.state.config.model_copy(update={"anomalies": BACK})))
    assert life.sought is None, "what was found under Suspend was settled by it"


@pytest.mark.parametrize("restart", [False, True])
def test_a_collapse_goes_back_to_before_it_without_whose_update_stood_out(restart):
    life = Life(WATCHED)
    life.round(accuracy=0.1)
    life.round(accuracy=0.8)
    life.round(accuracy=0.85, long=("d",))
    life.round(accuracy=0.3)
    assert life.sought == 2
    if restart:
        life.state, life.effects = machine.step(life.restarted(), Ticked(61.0))
        assert life.sought == 2
    life.found()
    commit = life.commits[-1]
    (undoing,) = commit.undoings
    assert (commit.rolled_back_to, undoing.cause, undoing.round, undoing.client, undoing.rounds) == (
        2, "MetricCollapsed", 3, "d", (3, 4)
    )  # fmt: skip
    (suspected,) = commit.anomalies
    assert suspected.text == (
        "MetricCollapsed: with it accuracy became 0.3 (limit 0.65); "
        "NormAboveOthers: its norm is 5 times the median of the others' (limit 3)"
    )
    assert (suspected.is_excluded, life.state.roster.suspended) == (False, {"d"})
    assert life.sought is None, "the suspect's earlier updates stay: the metric was well with them"
    assert life.restarted().roster.suspended == {"d"}


def test_a_collapse_without_a_suspect_is_told_and_undoes_nothing():
    life = Life(WATCHED)
    life.round(accuracy=0.1)
    life.round(accuracy=0.8)
    life.round(accuracy=0.3)
    life.round(accuracy=0.2)
    life.round(accuracy=0.2)
    assert life.state.roster.suspended == frozenset()
    assert not any(commit.rolled_back_to is not None for commit in life.commits)
    (told,) = life.told
    assert (told["result"], told["cause"], told["round"]) == ("Refused", "MetricCollapsed", 2)
    assert "no update stands out" in told["message"]


def test_a_collapse_without_a_suspect_keeps_no_other_anomaly_from_being_undone():
    life = Life(WATCHED)
    life.round(accuracy=0.1)
    life.round(accuracy=0.8)
    life.round("d", accuracy=0.3)
    assert life.sought == 0
    life.found()
    assert [(each.cause, each.client, each.refused) for each in life.commits[-1].undoings] == [
        ("AnomalousUpdate", "d", "")
    ]
    assert life.sought is None, "the collapsed round is undone with it"


def test_a_collapse_and_another_anomaly_are_one_way_back_to_before_both():
    life = Life(WATCHED)
    for _ in range(4):
        life.round(accuracy=0.8)
    life.round(accuracy=0.8, long=("c",))
    life.round("d", accuracy=0.3)
    assert life.sought == 3
    life.found()
    assert [(each.client, each.to) for each in life.commits[-1].undoings] == [("d", 3), ("c", 4)]
    assert life.state.current.plan.selected == ("a", "b")


def test_a_collapse_of_the_last_model_is_found_before_the_job_ends():
    life = Life(WATCHED, rounds=2)
    life.round(accuracy=0.1)
    life.round(accuracy=0.8, long=("d",))
    assert life.state.phase is Phase.EVALUATING
    life.evaluated(0.2)
    assert life.sought == 1
    effects = life.found()
    assert WriteEvaluation in rules.kinds(effects), "what was measured is bound, and says why"
    assert plan_of(effects).selected == ("a", "b", "c")
    assert life.state.end is None
    life.round(accuracy=0.8)
    life.evaluated(0.9)
    assert life.state.phase is Phase.FINISHED


@pytest.mark.parametrize("seed", range(60))
def test_whatever_happens_it_ends_and_no_anomaly_is_decided_twice(seed):
    """Sites turn bad, are readmitted, stand out in a collapse, and the aggregator dies, all at random."""
    drawn = random.Random(seed)
    settings = WATCHED.model_copy(update={"rollback": WATCHED.rollback.model_copy(update={"max_rollbacks": 2})})
    life = Life(settings, rounds=8, quorum=1)
    for _ in range(60):
        if life.sought is not None and drawn.random() < 0.9:
            life.found()
        elif life.sought is not None:
            life.take(RoundLost(41.0, life.state.undoing.asked, "it is damaged"))
        if life.state.phase is Phase.EVALUATING:
            life.evaluated(drawn.choice((0.2, 0.9)))
        if life.sought is not None or life.state.undoing is not None:
            continue
        if life.state.current is None:
            break
        selected = life.state.current.plan.selected
        bad = [client for client in selected[1:] if drawn.random() < 0.1]
        life.round(*bad, long=drawn.sample(selected, 1), accuracy=drawn.choice((0.2, 0.85, 0.9)))
        if life.sought is None and drawn.random() < 0.1 and life.state.roster.suspended:
            again = tuple(
                Readmission(client=c, through_round=life.state.tip.round) for c in life.state.roster.suspended
            )
            changed = life.state.config.anomalies.model_copy(update={"readmit": again})
            life.take(Configured(42.0, life.state.config.model_copy(update={"anomalies": changed})))
    done = [commit for commit in life.commits if commit.rolled_back_to is not None]
    keys = [undoing.key for commit in life.commits for undoing in commit.undoings]
    assert len(done) <= 2
    assert len(keys) == len(set(keys))
    assert life.state.phase is Phase.FINISHED or not life.state.roster.eligible
    for commit in done:
        assert all(
            (undoing.rounds and undoing.to == commit.rolled_back_to) or len(commit.undoings) > 1
            for undoing in commit.undoings
        )
    again = life.restarted()
    assert (again.undone, again.line, again.roster.suspended) == (
        tuple(each for each in life.state.undone if each.commit is not None), life.state.line, life.state.roster.suspended
    )  # fmt: skip


def test_many_suspended_sites_are_counted_and_so_many_are_listed():
    names = tuple(f"s{number:04}" for number in range(1000))
    state = rules.collecting(names, anomalies=BACK, min_available=1)
    noted = [anomaly(client, "RollBack") for client in names[:900]]
    found = replace(state, anomalies=state.anomalies.with_newer(1, 30.0, noted))
    told = status(found)["anomalies"]
    assert (told["total"], told["suspendedTotal"], len(told["suspended"]), len(told["recent"])) == (900, 900, 100, 20)
    undoings = tuple(
        Undone(Undoing(cause="AnomalousUpdate", round=1, client=client, to=0, rounds=tuple(range(1, 21))), 2, 30.0)
        for client in names[:900]
    )
    told = status(replace(found, undone=undoings))["anomalies"]["rollbacks"]
    assert (len(told), told[0]["client"]) == (20, "s0899")
    assert all(len(each["message"]) <= 1024 for each in told)
