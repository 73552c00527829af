"""What a site's claims may do: samples are bounded, jumps are told, and who takes no part has no say."""

from dataclasses import replace

import pytest

from fedapi.wire.job import StopRule
from fedapi.wire.plan import Overridden
from fedapi.wire.roster import RosterEntry
from fedapi.wire.site import EvaluationReport
from fedapi.wire.store import Head
from fedapi.wire.strategy import StrategySettings
from fedapi.wire.training import TrainingSettings
from fedcore.rounds import admission, claims, evaluation, machine, recovery
from fedcore.rounds.effects import Commit, WriteFailure, WritePlan
from fedcore.rounds.events import Configured, Evaluated, Folded, FoldFailed, UpdatesDamaged
from fedcore.rounds.recovery import Log
from fedcore.rounds.state import Phase, State
from tests.unit.fedcore.rounds import test_round_rules as rules
from tests.unit.fedcore.rounds.test_round_rules import A, B, accept, collecting, kinds, manifest, ref


def report(state: State, client: str, samples: int = 5, accuracy: float = 0.5) -> EvaluationReport:
    tip = state.tip
    return EvaluationReport(
        job_uid="uid", round=tip.round, client=client, model_sha256=tip.model.sha256, samples=samples,
        metrics={"accuracy": accuracy},
    )  # fmt: skip


def evaluated(state: State, client: str, *values) -> State:
    said = report(state, client, *values)
    assert admission.evaluated(state, client, said) is None
    return machine.step(state, Evaluated(20.0, said))[0]


def without(state: State, client: str, reason: str | None) -> State:
    """The site is paused (or not ready), or removed from the job."""
    entry = () if reason is None else (RosterEntry(name=client, eligible=False, reason=reason),)
    roster = tuple(e for e in state.config.roster if e.name != client) + entry
    return machine.step(state, Configured(21.0, state.config.model_copy(update={"roster": roster})))[0]


@pytest.mark.parametrize(
    ("limit", "samples", "code"), [(100, 100, None), (100, 101, "TooLarge"), (100, 1 << 40, "TooLarge")]
)
def test_no_site_claims_more_samples_than_the_job_allows(limit, samples, code):
    state = collecting("ab", max_samples=limit)
    for answer in (
        admission.update(state, "a", manifest(state, "a", samples)),
        admission.evaluated(state, "a", report(state, "a", samples)),
    ):
        assert (answer.code if answer else None) == code
        assert code is None or "clients.maxSamples of the job is 100" in answer.message


def test_a_made_up_number_does_not_reach_the_target_by_default():
    state = collecting("ab", stop=StopRule(metric="accuracy", target=0.9))
    assert admission.evaluated(state, "b", report(state, "b", 1 << 40, 1.0)).code == "TooLarge"


@pytest.mark.parametrize("reason", ["Paused", "NotReady", None])
def test_evaluations_of_a_site_that_takes_no_part_do_not_count(reason):
    state = collecting("abc", quorum=1)
    both = evaluated(evaluated(state, "a", 10, 0.2), "b", 1000, 1.0)
    assert evaluation.record(both).metrics["accuracy"] > 0.9
    assert evaluation.record(without(both, "b", reason)).clients.keys() == {"a"}
    refused = admission.evaluated(without(state, "b", reason), "b", report(state, "b"))
    assert refused.code == "NotSelected"
    shown = evaluation.settled(without(evaluated(evaluated(state, "a"), "c"), "b", reason))
    assert [score.round for score in shown] == [0], "nobody waits for it either"


def test_the_last_evaluation_does_not_wait_for_a_paused_site():
    state = collecting("ab", rounds=1)
    state, _ = accept(state, "a")
    state, _ = accept(state, "b")
    state, _ = machine.step(state, Folded(21.0, 1, 1, ref(B)))
    assert state.phase is Phase.EVALUATING
    state = evaluated(state, "a")
    assert state.phase is Phase.EVALUATING
    assert without(state, "b", "Paused").phase is Phase.FINISHED


def second_round(first: int, second: int) -> State:
    """Site a has sent an update of so many samples in round 1, and in round 2."""
    state = collecting("ab", quorum=1)
    for client, samples in (("a", first), ("b", 5)):
        state, _ = accept(state, client, samples=samples)
    state, _ = machine.step(state, Folded(21.0, 1, 1, ref(B)))
    return accept(state, "a", samples=second)[0]


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [(10, 100, False), (10, 101, True), (101, 10, True), (0, 10, False), (0, 11, True), (10, 10, False)],
)
def test_a_jump_of_samples_is_told_and_counts_as_no_failure(first, second, told):
    site = second_round(first, second).site("a")
    assert (site.samples, site.failures) == (second, 0)
    assert (f"samples went from {first} in round 1 to {second} in round 2" in site.message) is told


def test_a_restart_tells_the_same_jump():
    before = second_round(10, 1000)
    restarted = replace(before, sites={"a": replace(before.site("a"), message="", samples=10, last_round=1)})
    assert claims.taken(restarted, before.current.accepted["a"]).message == before.site("a").message


def folding(clients: str = "ab", **values) -> State:
    state = collecting(clients, **values)
    for client in clients:
        state, _ = machine.step(state, rules.Accepted(20.0, manifest(state, client, sha256=A if client == "a" else B)))
    assert state.phase is Phase.FOLDING
    return state


def test_a_model_that_is_not_finite_fails_the_attempt_and_counts():
    state = folding(max_failures=1)
    for attempt in (1, 2):
        state, effects = machine.step(state, FoldFailed(30.0, 1, attempt, "ModelNotFinite", "tensor 'w' is infinite"))
        assert isinstance(effects[0], WriteFailure)
        assert (effects[0].failure.reason, state.tip.round) == ("ModelNotFinite", 0)
        assert "tensor 'w'" in state.site("a").message
        if attempt == 1:
            assert kinds(effects) == [WriteFailure, WritePlan]
            for client in "ab":
                state, _ = accept(state, client)
    assert (state.end.result, state.end.reason) == ("Failed", "ModelNotFinite")
    assert "tensor 'w'" in state.end.message
    log = Log(Head(epoch=2, round=0), commits=(state.tip,), failures=(effects[0].failure,))
    again, _ = recovery.recovered(state.config, log, 40.0)
    assert again.end.reason == "ModelNotFinite"


def damaged(state: State, *clients: str) -> tuple[State, tuple]:
    attempt = state.current
    found = {attempt.accepted[c].objects[0].key: "its SHA-256 is another" for c in clients}
    return machine.step(state, UpdatesDamaged(500.0, attempt.plan.round, attempt.plan.attempt, found))


def test_only_the_sites_of_damaged_updates_are_asked_again():
    state = folding("abc")
    state, effects = damaged(state, "b")
    assert (state.phase, state.current.pending, list(state.current.accepted)) == (Phase.COLLECTING, {"b"}, ["a", "c"])
    assert state.current.deadline_at == 600.0, "what the hub lost costs nobody's time"
    (withdraw,) = effects
    assert [m.client for m in withdraw.manifests] == ["b"]
    assert (state.site("b").failures, state.attempt) == (0, 1)
    assert "damaged in the store" in state.site("b").message
    state, effects = accept(state, "b")
    assert effects[0].terms[1].payloads == state.current.accepted["b"].payloads
    assert kinds(machine.step(state, Folded(501.0, 1, 1, ref(B)))[1])[0] is Commit


def test_equal_updates_of_two_sites_are_told_apart():
    state = collecting("ab")
    for client in "ab":
        state, _ = accept(state, client)
    assert len({m.objects[0].sha256 for m in state.current.accepted.values()}) == 1
    assert damaged(state, "b")[0].current.pending == {"b"}


@pytest.mark.parametrize("values", [{"lifetime": "Round"}, {"max_failures": 0}])
def test_an_attempt_whose_sites_cannot_be_asked_again_fails(values):
    """With lifetime Round their processes have ended; and a disk that spoils everything is not fed for ever."""
    state, effects = damaged(folding(**values), "a")
    assert isinstance(effects[0], WriteFailure)
    assert effects[0].failure.reason == "UpdateDamaged"
    assert "its SHA-256 is another" in effects[0].failure.message
    assert state.phase is (Phase.COLLECTING if "lifetime" in values else Phase.FINISHED)


def test_answers_to_a_fold_that_is_over_change_nothing():
    state = folding()
    for event in (FoldFailed(30.0, 1, 2, "ModelNotFinite", ""), UpdatesDamaged(30.0, 2, 1, {})):
        after, effects = machine.step(state, event)
        assert (after.phase, effects) == (Phase.FOLDING, ())


NOVA = StrategySettings(name="FedNova")
EPOCHS = TrainingSettings(epochs=3, batch_size=4)


@pytest.mark.parametrize(
    ("training", "samples", "most", "words"),
    [
        (EPOCHS, 9, 9, "training.epochs is 3, and 9 samples are 3 batches of 4: make no more steps than 9"),
        (EPOCHS, 8, 6, "and 8 samples are 2 batches of 4"),
        (EPOCHS, 1, 3, "and 1 samples are 1 batches of 4"),
        (TrainingSettings(epochs=None, local_steps=7), 1, 7, "training.localSteps is 7: make no more steps than 7"),
    ],
)
def test_a_site_cannot_have_made_more_steps_than_its_order_allows(training, samples, most, words):
    state = collecting("ab", strategy=NOVA, training=training)
    assert admission.update(state, "a", manifest(state, "a", samples, steps=most)) is None
    refusal = admission.update(state, "a", manifest(state, "a", samples, steps=most + 1))
    assert refusal.code == "Malformed"
    assert f"steps is {most + 1}, but training." in refusal.message
    assert words in refusal.message
    other = collecting("ab", training=training)
    assert admission.update(other, "a", manifest(other, "a", samples, steps=most + 1)) is None, "nobody weighs by them"


def test_its_own_override_says_how_many():
    state = collecting("ab", strategy=NOVA, training=EPOCHS)
    overridden = (Overridden(clients=("a",), local_steps=20),)
    plan = state.current.plan.model_copy(update={"overrides": overridden})
    state = replace(state, current=replace(state.current, plan=plan))
    assert admission.update(state, "a", manifest(state, "a", 8, steps=20)) is None
    assert "training.localSteps is 20" in admission.update(state, "a", manifest(state, "a", 8, steps=21)).message
    assert "training.epochs is 3" in admission.update(state, "b", manifest(state, "b", 8, steps=7)).message
