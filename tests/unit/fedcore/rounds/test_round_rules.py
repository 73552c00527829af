"""Tables of the round's rules: selection, closing, stop and best, assignments, admission."""

from dataclasses import replace

import pytest

from fedaggregator.engine import folding
from fedaggregator.engine.payloads import Payloads
from fedapi import outcome
from fedapi.crd.federatedjob import Strategy
from fedapi.wire.commit import CommitRecord
from fedapi.wire.job import DEFAULT_MAX_SAMPLES, JobConfig, StopRule
from fedapi.wire.message import ObjectRef
from fedapi.wire.roster import RosterEntry
from fedapi.wire.site import EvaluationReport, UploadRequest
from fedapi.wire.strategy import StrategySettings
from fedapi.wire.update import Payload, UpdateManifest
from fedcore.rounds import admission, assignment, closing, evaluation, machine, planning
from fedcore.rounds.effects import Commit, Discard, Finish, Fold, WriteClose, WriteEvaluation, WriteFailure, WritePlan
from fedcore.rounds.events import (
    Accepted,
    Configured,
    Evaluated,
    Folded,
    FoldFailed,
    Heard,
    InitialModelFound,
    SiteFailed,
    Ticked,
)
from fedcore.rounds.state import Phase, Score, State
from fedcore.selection import choice
from fedcore.selection.candidates import Candidate
from fedcore.strategies.table import STRATEGIES
from fedoperator.decide.reasons import Reason
from fedstore.memory import MemoryStore

A, B, C = "a" * 64, "b" * 64, "c" * 64


def ref(sha256: str) -> ObjectRef:
    return ObjectRef(key=f"models/ns/job-uid/{sha256}", sha256=sha256, size=100)


def config(clients="ab", **values) -> JobConfig:
    defaults = {"rounds": 2, "deadline_s": 100.0, "uid": "uid"}
    roster = tuple(RosterEntry(name=c) for c in clients)
    return JobConfig(namespace="ns", name="job", roster=roster, **defaults | values)


def collecting(clients="ab", **values) -> State:
    """Round 1 is planned at time 10."""
    state = State(config(clients, **values), epoch=1)
    state, _ = machine.step(state, InitialModelFound(10.0, ref(A)))
    for client in clients:
        state, _ = machine.step(state, Heard(10.0, (client,)))
    assert state.phase is Phase.COLLECTING
    return state


def manifest(state: State, site: str, samples: int = 5, **values) -> UpdateManifest:
    plan = state.current.plan
    sha256 = values.pop("sha256", B)
    payload = ObjectRef(key=state.layout.update(site, plan.round, sha256), sha256=sha256, size=100)
    defaults = {
        "job_uid": "uid", "round": plan.round, "attempt": plan.attempt, "client": site,
        "base_sha256": plan.base.sha256, "payloads": {"update": Payload(object=payload)}, "samples": samples, "training_s": 2.0, "nonce": site * 16,
    }  # fmt: skip
    return UpdateManifest(**defaults | values)


def accept(state: State, client: str, now: float = 20.0, samples: int = 5):
    return machine.step(state, Accepted(now, manifest(state, client, samples)))


def kinds(effects) -> list[type]:
    return [type(effect) for effect in effects]


@pytest.mark.parametrize(
    ("values", "candidates", "count"),
    [
        ({}, 5, 5),
        ({"policy": "Random", "per_round": 3}, 5, 3),
        ({"policy": "Random", "per_round": 9}, 5, 5),
        ({"policy": "Random", "fraction": 0.5}, 5, 3),
        ({"policy": "Random", "fraction": 0.1}, 30, 3),
        ({"policy": "Random", "fraction": 0.01}, 5, 1),
        ({"policy": "Random", "fraction": 0.1, "quorum": 3}, 9, 3),  # no draw is below a quorum that is a count
        ({"policy": "Random", "per_round": 2, "quorum": 3}, 9, 3),
        ({"policy": "Random", "per_round": 2, "quorum": "100%"}, 9, 2),
    ],
)
def test_how_many_are_selected(values, candidates, count):
    names = [Candidate(f"s{i}") for i in range(candidates)]
    chosen = choice.selected(config(**values), names, 1, 1)
    assert len(chosen) == count
    assert list(chosen) == sorted(set(chosen))
    assert chosen == choice.selected(config(**values), reversed(names), 1, 1)


def test_selection_is_fair_and_depends_on_seed_round_and_attempt():
    names = [Candidate(f"s{i}") for i in range(10)]
    drawn = [choice.selected(config(policy="Random", per_round=2, seed=9), names, r, 1) for r in range(1, 301)]
    counts = [sum(each.name in chosen for chosen in drawn) for each in names]
    assert min(counts) > 30
    assert max(counts) < 95
    random = config(policy="Random", per_round=5)
    one = choice.selected(random, names, 1, 1)
    assert one != choice.selected(random, names, 1, 2)
    assert one != choice.selected(config(policy="Random", per_round=5, seed=1), names, 1, 1)


def test_the_first_round_waits_for_min_available_and_takes_all_that_are_on_their_way():
    state = State(config("abc", min_available=2), epoch=1)
    state, effects = machine.step(state, InitialModelFound(1.0, ref(A)))
    assert kinds(effects) == [Commit]
    state, effects = machine.step(state, Heard(2.0, ("b",)))
    assert (effects, planning.missing_sites(state, 2.0)) == ((), 1)
    state, effects = machine.step(state, Heard(3.0, ("c",)))
    assert kinds(effects) == [WritePlan]
    assert state.current.plan.selected == ("a", "b", "c")


def test_a_round_is_not_planned_below_a_quorum_that_is_a_count():
    state = State(config("abc", quorum=3, min_available=1), epoch=1)
    state, _ = machine.step(state, InitialModelFound(1.0, ref(A)))
    paused = state.config.model_copy(
        update={"roster": (RosterEntry(name="a", eligible=False), *state.config.roster[1:])}
    )
    state, _ = machine.step(state, Configured(2.0, paused))
    state, effects = machine.step(state, Heard(3.0, ("b",)))
    assert (effects, planning.missing_sites(state, 3.0)) == ((), 1)
    state, effects = machine.step(state, Configured(4.0, config("abc", quorum=3)))
    assert kinds(effects) == [WritePlan]
    assert (effects[0].plan.quorum, state.current.quorum) == (3, 3)
    for client in "abc":
        state, _ = accept(state, client)
    state, _ = machine.step(
        state, Configured(21.0, config("ab", quorum=3))
    )  # a site left: the next round waits for one
    state, effects = machine.step(state, Folded(22.0, 1, 1, ref(B)))
    assert kinds(effects) == [Commit, Discard]
    assert (state.phase, planning.missing_sites(state, 22.0)) == (Phase.WAITING, 1)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (None, "left the job"),
        (RosterEntry(name="b", eligible=False, reason=Reason.TOO_MANY_FAILURES), "TooManyFailures"),
        (RosterEntry(name="b", eligible=False, reason=Reason.OOM_KILLED), "OOMKilled"),
        (RosterEntry(name="b", eligible=False, reason=outcome.reason(outcome.Exit.TASK_INVALID)), "TaskInvalid"),
        (RosterEntry(name="b", eligible=False, reason=Reason.PAUSED), None),
        (RosterEntry(name="b", eligible=False, reason=Reason.NOT_READY), None),
    ],
)
def test_a_round_waits_for_paused_sites_and_for_no_lost_ones(entry, message):
    state, _ = accept(collecting("ab", quorum=1), "a")
    roster = (RosterEntry(name="a"), *([entry] if entry else []))
    changed, effects = machine.step(state, Configured(21.0, state.config.model_copy(update={"roster": roster})))
    restarted, later = machine.step(replace(state, config=changed.config), Ticked(21.0))
    for after, made in ((changed, effects), (restarted, later)):
        if message:
            assert kinds(made) == [WriteClose, Fold]
            assert (after.current.failed, after.site("b").message) == ({"b": message}, message)
        else:
            assert (made, after.current.pending) == ((), {"b"})


def test_the_last_evaluation_does_not_wait_for_a_site_that_left():
    state = collecting(rounds=1)
    for client in "ab":
        state, _ = accept(state, client)
    state, _ = machine.step(state, Folded(22.0, 1, 1, ref(B)))
    state, _ = evaluated(state, "a", 1, B, 0.9)
    assert state.phase is Phase.EVALUATING
    state, effects = machine.step(state, Configured(31.0, config("a", rounds=1)))
    assert kinds(effects) == [WriteEvaluation, Finish]


def test_paused_and_silent_sites_are_left_out():
    state = collecting("abc")
    roster = (RosterEntry(name="a", eligible=False), RosterEntry(name="b"), RosterEntry(name="c"))
    state, _ = machine.step(state, Configured(11.0, state.config.model_copy(update={"roster": roster})))
    for client in "abc":
        state, effects = accept(state, client)
    state, _ = machine.step(state, Heard(900.0, ("b",)))
    state, effects = machine.step(state, Folded(900.0, 1, 1, ref(B)))
    assert kinds(effects) == [Commit, Discard, WritePlan]
    assert state.current.plan.selected == ("b",)  # a is paused, c was last heard at 10


def test_all_accepted_folds_at_once_in_plan_order_weighted_by_samples():
    state, effects = accept(collecting(), "b", samples=30)
    assert effects == ()
    state, effects = accept(state, "a", samples=10)
    (fold,) = effects
    assert isinstance(fold, Fold)
    assert [(t.client, t.samples, t.payloads["update"].object.key.split("/")[3]) for t in fold.terms] == [
        ("a", 10, "a"),
        ("b", 30, "b"),
    ]
    assert (fold.strategy, fold.hub_state) == (StrategySettings(name="FedAvg"), None)
    state, effects = machine.step(state, Folded(21.0, 1, 1, ref(B)))
    assert kinds(effects) == [Commit, Discard, WritePlan]
    commit = effects[0].commit
    assert (commit.round, commit.total_samples, commit.model, commit.planned_at) == (1, 40, ref(B), 10.0)
    assert [(p.client, p.training_s) for p in commit.participants] == [("a", 2.0), ("b", 2.0)]
    assert effects[1].keep == {A, B}


def test_every_strategy_that_a_job_can_name_is_there():
    assert {*STRATEGIES, "Custom"} == set(Strategy.model_fields["name"].annotation.__args__)


KRUM = StrategySettings(name="Krum", parameters={"byzantine": 1})


def test_a_round_waits_for_as_many_sites_as_its_strategy_needs():
    state = State(config("abcde", strategy=KRUM, min_available=1), epoch=1)
    state, _ = machine.step(state, InitialModelFound(10.0, ref(A)))
    state, _ = machine.step(state, Heard(10.0, tuple("abcde")))
    assert state.current.plan.selected == tuple("abcde")
    gone = config("abcde", strategy=KRUM)
    gone = gone.model_copy(update={"roster": (*gone.roster[:4], RosterEntry(name="e", eligible=False))})
    state, _ = machine.step(State(gone, epoch=1), InitialModelFound(10.0, ref(A)))
    state, _ = machine.step(state, Heard(10.0, tuple("abcd")))
    assert (state.phase, state.current) == (Phase.WAITING, None)


@pytest.mark.parametrize(("quorum", "needed"), [("20%", 5), (2, 5), ("100%", 6), (6, 6)])
def test_no_quorum_is_below_what_the_strategy_needs(quorum, needed):
    state = collecting("abcdef", strategy=KRUM, quorum=quorum, grace_after_quorum_s=0.0)
    assert state.current.plan.quorum == state.current.quorum == needed
    for client in "abcd":
        state, effects = accept(state, client)
        assert effects == ()


def test_no_draw_is_below_what_the_strategy_needs():
    values = {"policy": "Random", "per_round": 2, "strategy": KRUM}
    assert len(collecting("abcdefg", **values).current.plan.selected) == 5


def test_too_few_updates_with_samples_fail_the_attempt_and_it_is_tried_again():
    state = collecting("abcde", strategy=KRUM, max_failures=3)
    for client in "abcde":
        state, effects = accept(state, client, samples=0 if client == "e" else 5)
    assert state.phase is Phase.FOLDING
    state, effects = machine.step(state, FoldFailed(30.0, 1, 1, closing.TOO_FEW_UPDATES, "4 came"))
    assert kinds(effects) == [WriteFailure, WritePlan]
    assert (effects[0].failure.reason, state.attempt) == ("TooFewUpdates", 2)


def test_zero_samples_leave_the_model_alone():
    state = collecting()
    for client in "ab":
        state, effects = accept(state, client, samples=0)
    (fold,) = effects
    store = MemoryStore()
    assert folding.fold(store, Payloads(store, bytes(32)), state.layout, fold, lambda: False) == folding.Result(
        fold.base, None
    )
    assert list(store.keys("")) == []


def test_an_update_counts_once():
    state, _ = accept(collecting("abc"), "a")
    again, effects = accept(state, "a", samples=99)
    assert (again, effects) == (state, ())


def test_quorum_and_grace():
    state = collecting("abcd", quorum="50%", grace_after_quorum_s=5.0)
    state, _ = accept(state, "a", now=20.0)
    assert machine.wakes_at(state) == 110.0
    state, _ = accept(state, "c", now=30.0)
    assert machine.wakes_at(state) == 35.0
    assert machine.step(state, Ticked(34.9))[1] == ()
    state, effects = machine.step(state, Ticked(35.0))
    assert kinds(effects) == [WriteClose, Fold]
    assert effects[0].close.accepted == ("a", "c")
    assert assignment.kind(state, "b", (1, 1)) == "Drop"
    assert assignment.kind(state, "a", (1, 1)) == "Wait"


def test_quorum_without_grace_waits_for_the_deadline():
    state, _ = accept(collecting("abc", quorum=1), "a")
    assert machine.step(state, Ticked(109.0))[1] == ()
    assert kinds(machine.step(state, Ticked(110.0))[1]) == [WriteClose, Fold]


def test_failures_close_a_round_at_once():
    state = collecting("abc", quorum=1)
    state, _ = accept(state, "a")
    for client in "bc":
        state, effects = machine.step(state, SiteFailed(21.0, client, 1, 1, "TaskFailed", "boom"))
    assert kinds(effects) == [WriteClose, Fold]
    assert state.site("b").message == "TaskFailed: boom"
    assert state.site("b").failures == 1


def test_deadline_without_quorum_is_planned_afresh_and_then_given_up():
    state = collecting(max_failures=1)
    state, _ = accept(state, "a")
    state, effects = machine.step(state, Ticked(110.0))
    assert kinds(effects) == [WriteFailure, WritePlan]
    assert state.current.plan.attempt == 2
    assert state.current.accepted == {}
    state, effects = machine.step(state, Ticked(210.0))
    assert kinds(effects) == [WriteFailure, Finish]
    assert (state.phase, state.end.result, state.end.reason) == (Phase.FINISHED, "Failed", "QuorumNotReached")
    assert "a: no update before the deadline" in state.end.message
    assert assignment.kind(state, "a", None) == "Done"


def test_stale_failures_and_updates_change_nothing():
    state = collecting(max_failures=5)
    late = manifest(state, "a")
    state, _ = machine.step(state, Ticked(110.0))
    assert machine.step(state, Accepted(111.0, late))[0] == state
    assert machine.step(state, SiteFailed(111.0, "a", 1, 1, "TaskFailed", ""))[0] == state


def evaluated(state: State, client: str, round_: int, sha256: str, accuracy: float, now: float = 30.0):
    report = EvaluationReport(
        job_uid="uid", round=round_, client=client, model_sha256=sha256, samples=10, metrics={"accuracy": accuracy}
    )
    return machine.step(state, Evaluated(now, report))


def test_the_evaluation_is_bound_into_the_next_commit_and_the_last_step_is_bounded():
    state = collecting(rounds=1)
    state, _ = evaluated(state, "a", 0, A, 0.5)
    for client in "ab":
        state, _ = accept(state, client)
    state, effects = machine.step(state, Folded(40.0, 1, 1, ref(B)))
    assert kinds(effects) == [WriteEvaluation, Commit, Discard]
    assert effects[1].commit.evaluation_sha256 == effects[0].evaluation.digest()
    assert state.phase is Phase.EVALUATING
    assert assignment.kind(state, "a", None) == "Evaluate"
    state, effects = evaluated(state, "a", 1, B, 0.9)
    assert effects == ()
    silent, effects = machine.step(state, Ticked(machine.wakes_at(state)))
    assert kinds(effects) == [WriteEvaluation, Finish]
    state, effects = evaluated(state, "b", 1, B, 0.7)
    assert kinds(effects) == [WriteEvaluation, Finish]
    assert effects[0].evaluation.metrics == {"accuracy": 0.8}
    assert effects[0].evaluation.samples == 20
    for end in (state.end, silent.end):
        assert (end.result, end.reason) == ("Succeeded", "RoundsCompleted")


@pytest.mark.parametrize(
    ("rule", "values", "reason"),
    [
        (None, [0.1], None),
        (StopRule(metric="m", target=0.5), [0.1, 0.49], None),
        (StopRule(metric="m", target=0.5), [0.1, 0.5], "TargetReached"),
        (StopRule(metric="m", target=0.5, goal="Minimize"), [0.9, 0.5], "TargetReached"),
        (StopRule(metric="m", target=0.5, goal="Minimize"), [0.9, 0.6], None),
        (StopRule(metric="m", patience=2), [0.1, 0.5, 0.5], None),
        (StopRule(metric="m", patience=2), [0.1, 0.5, 0.5, 0.4], "NoImprovement"),
        (StopRule(metric="m", patience=2), [0.1, 0.5, 0.4, 0.6], None),
        (StopRule(metric="m", patience=1, goal="Minimize"), [0.5, 0.6], "NoImprovement"),
        (StopRule(metric="other", patience=1), [0.5, 0.4, 0.3], None),
        (StopRule(metric="m", patience=2), [], None),
    ],
)
def test_stop_rule(rule, values, reason):
    scores = [Score(i, {"m": value}, A) for i, value in enumerate(values)]
    stopped = evaluation.stop_reason(rule, scores)
    assert (stopped[0] if stopped else None) == reason


@pytest.mark.parametrize(
    ("rule", "scores", "best"),
    [
        (None, [{"accuracy": 0.5}, {"accuracy": 0.7}, {"accuracy": 0.7}], (1, "accuracy")),
        (None, [{"loss": 0.5}, {"loss": 0.3}, {"loss": 0.4}], (1, "loss")),
        (None, [{"auc": 0.5, "zeta": 1.0}], (0, "auc")),
        (
            StopRule(metric="auc", target=1.0),
            [{"auc": 0.5, "accuracy": 1.0}, {"auc": 0.6, "accuracy": 0.1}],
            (1, "auc"),
        ),
        (StopRule(metric="gone", target=1.0), [{"accuracy": 1.0}], (0, "accuracy")),
        (None, [], None),
        (None, [{}], None),
    ],
)
def test_best_round(rule, scores, best):
    found = evaluation.best(rule, [Score(i, metrics, A) for i, metrics in enumerate(scores)])
    assert ((found.round, found.metric) if found else None) == best


def test_weighted_mean_counts_samples_per_metric():
    parts = [(10, {"x": 1.0, "y": 2.0}), (30, {"x": 3.0}), (0, {"x": 99.0})]
    assert evaluation.weighted_mean(parts) == {"x": 2.5, "y": 2.0}


@pytest.mark.parametrize("value", [1.7e308, -1.7e308])
def test_old_records_with_absurd_numbers_still_make_records(value):
    """They were taken before admission bounded them: what is made of them has a digest all the same."""
    state, samples = collecting("ab", rounds=1), (1 << 53) - 1
    for client, sign in (("a", 1), ("b", -1)):
        metrics = {f"{client}{i:02d}": 0.5 for i in range(30)} | {"huge": sign * value, "ok": 0.25}
        report = EvaluationReport(
            job_uid="uid", round=0, client=client, model_sha256=A, samples=samples, metrics=metrics
        )
        state, _ = machine.step(state, Evaluated(15.0, report))
        state, _ = machine.step(state, Accepted(16.0, manifest(state, client, samples, metrics=metrics)))
    _, effects = machine.step(state, Folded(40.0, 1, 1, ref(B)))
    written, commit = effects[0].evaluation, effects[1].commit
    for means in (written.metrics, commit.training_metrics):
        assert "huge" not in means
        assert (means["ok"], len(means)) == (0.25, 32)
    assert commit.digest()
    assert written.samples == commit.total_samples == samples


@pytest.mark.parametrize(
    ("client", "doing", "kind"),
    [
        ("a", None, "Train"),
        ("a", (1, 1), "Wait"),  # it works on what it shall
        ("a", (0, 1), "Drop"),
        ("a", (1, 2), "Drop"),
        ("b", None, "Wait"),  # accepted
        ("b", (1, 1), "Wait"),
        ("c", None, "Wait"),  # failed
        ("c", (1, 1), "Drop"),
        ("stranger", None, "Wait"),
    ],
)
def test_assignments_while_collecting(client, doing, kind):
    state, _ = accept(collecting("abc", quorum=1), "b")
    state, _ = machine.step(state, SiteFailed(21.0, "c", 1, 1, "TaskFailed", ""))
    assert assignment.kind(state, client, doing) == kind


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({}, None),
        ({"round": 2}, "StaleRound"),
        ({"attempt": 2}, "StaleAttempt"),
        ({"client": "b"}, "Unauthorized"),
        ({"job_uid": "predecessor"}, "NotInJob"),
        ({"base_sha256": C}, "WrongBase"),
        ({"payloads": {"update": Payload(object=ObjectRef(key="models/other", sha256=B, size=100))}}, "Malformed"),
        ({"payloads": {"controls": Payload(object=ref(B))}}, "Malformed"),
        ({"metrics": {"x": float("nan")}}, "NotFinite"),
        ({"metrics": {"x" * 64: 1.0}}, "Malformed"),
        ({"metrics": {"x": -1.7e308}}, "Malformed"),
        ({"metrics": {"x": -1e100}, "samples": DEFAULT_MAX_SAMPLES}, None),
        ({"samples": DEFAULT_MAX_SAMPLES + 1}, "TooLarge"),
        ({"samples": 1 << 40}, "TooLarge"),
        ({"samples": (1 << 40) + 1}, "Malformed"),
        ({"training_s": 1e101}, "Malformed"),
    ],
)
def test_admission_of_updates(values, code):
    state = collecting("ab")
    answer = admission.update(state, "a", manifest(state, "a", **values))
    assert (answer.code if answer else None) == code


def test_admission_of_a_second_update():
    state, _ = accept(collecting("abc"), "a")
    same, other = manifest(state, "a"), manifest(state, "a", nonce="n" * 16)
    assert admission.update(state, "a", same) == same
    assert admission.update(state, "a", other).code == "Duplicate"
    for client in "bc":
        state, _ = accept(state, client)
    assert state.phase is Phase.FOLDING
    assert admission.update(state, "a", same) == same  # the answer was lost, the round closed meanwhile


def test_admission_of_uploads():
    state = collecting("ab")

    def asked(client="a", **values):
        return admission.upload(
            state, client, UploadRequest(**{"round": 1, "attempt": 1, "sha256": C, "size": 100} | values)
        )

    assert asked().key == state.layout.update("a", 1, C)
    assert asked(size=100 + admission.EXTRA_BYTES + 1).code == "TooLarge"
    assert asked(round=7).code == "StaleRound"
    assert asked(client="z").code == "NotSelected"
    assert admission.stranger(state, "z").code == "NotInJob"
    assert [bool(admission.crowded(state, "a", n)) for n in (0, admission.UPLOADS - 1, admission.UPLOADS)] == [0, 0, 1]
    assert admission.crowded(replace(state, attempt=2), "a", admission.UPLOADS) is None
    state, _ = accept(state, "a")
    assert asked().code == "Duplicate"


def test_quorum_reached_is_not_undone_by_configuration():
    state = collecting("ab", quorum=1)
    state, _ = machine.step(state, Configured(11.0, state.config.model_copy(update={"quorum": 2})))
    assert state.current.quorum == 1


def test_fewer_rounds_end_the_job_after_the_round_under_way():
    state = collecting("ab", rounds=5)
    for client in "ab":
        state, _ = accept(state, client)
    state, _ = machine.step(state, Configured(21.0, state.config.model_copy(update={"rounds": 1})))
    state, _ = machine.step(state, Folded(22.0, 1, 1, ref(B)))
    assert state.phase is Phase.EVALUATING


def test_closing_needs_a_reason():
    attempt = collecting("ab").current
    assert closing.verdict(attempt, 50.0) == "Open"
    assert closing.verdict(replace(attempt, failed={"a": "x"}), 50.0) == "Fail"  # the quorum of 2 is out of reach


def test_commit_records_name_their_predecessor():
    state = collecting()
    first = state.tip
    for client in "ab":
        state, _ = accept(state, client)
    state, effects = machine.step(state, Folded(22.0, 1, 1, ref(B)))
    assert isinstance(effects[0].commit, CommitRecord)
    assert effects[0].commit.previous_sha256 == first.digest()


def test_sites_without_test_data_are_not_waited_for_and_say_nothing():
    state = collecting(rounds=1)
    for client in "ab":
        report = EvaluationReport(job_uid="uid", round=0, client=client, model_sha256=A, samples=0, metrics={})
        state, _ = machine.step(state, Evaluated(15.0, report))
        state, _ = accept(state, client)
    state, effects = machine.step(state, Folded(40.0, 1, 1, ref(B)))
    assert kinds(effects) == [WriteEvaluation, Commit, Discard]
    assert state.scores == evaluation.measured(state) == ()
    assert evaluation.best(None, state.scores) is None


def test_round_one_does_not_go_on_below_min_available_when_a_site_is_lost():
    """Of two sites one says that its data is missing and leaves the roster: the other must not train alone."""
    state = collecting("ab", min_available=2)
    roster = (RosterEntry(name="a"), RosterEntry(name="b", eligible=False, reason="DataMissing"))
    state, _ = machine.step(state, Configured(20.0, state.config.model_copy(update={"roster": roster})))
    assert state.phase is Phase.WAITING
    assert planning.missing_sites(state, 21.0) == 1
    state, _ = machine.step(state, Configured(30.0, config("ab", min_available=2)))
    assert state.phase is Phase.COLLECTING
