"""A model is encoded before the first plan that needs it; every plan from it names what came of it, and nobody keeps it longer."""

from dataclasses import replace

import pytest

from fedapi.wire.compression import Encoding
from fedapi.wire.job import RollbackTo
from fedapi.wire.message import ObjectRef
from fedapi.wire.protocol import DELTA, DOWNLOAD, FEATURES, OLDEST_AT_SITE, PROTOCOL
from fedapi.wire.store import Head
from fedapi.wire.strategy import StrategySettings
from fedcore.rounds import admission, broadcasting, modes, recovery
from fedcore.rounds.compatibility import Speech, misfit
from fedcore.rounds.effects import Commit, Discard, Encode, Fold, WritePlan
from fedcore.rounds.events import (
    BroadcastLost,
    Configured,
    Encoded,
    Folded,
    Heard,
    InitialModelFound,
    RoundFound,
    SiteFailed,
    Ticked,
)
from fedcore.rounds.recovery import Log
from fedcore.rounds.state import Phase, State
from tests.unit.fedcore.rounds.test_round_rules import A, B, C, accept, collecting, config, kinds, manifest, ref

INT8, BF16 = Encoding(codec="Int8"), Encoding(codec="BFloat16")
TODAY = Speech(PROTOCOL, OLDEST_AT_SITE, frozenset(FEATURES))
BEFORE = replace(TODAY, features=TODAY.features - {DOWNLOAD})
FEDAVG = StrategySettings()
FEDBUFF = StrategySettings(name="FedBuff", parameters={"buffer_size": 2.0})


def step(state: State, event):
    return modes.mode(state.config.strategy.name).step(state, event)


def made(state: State, digit: str, now: float = 11.0) -> Encoded:
    """What becomes of the model that is being encoded."""
    sha256 = digit * 64
    key = state.layout.broadcast(state.encoding.round, sha256)
    return Encoded(now, state.encoding, ObjectRef(key=key, sha256=sha256, size=30), 100)


def begun(strategy=FEDAVG, **values) -> State:
    """All sites are there, and the initial model is being encoded."""
    state = State(config("ab", strategy=strategy, **{"rounds": 5, "download": INT8} | values), epoch=1)
    state, effects = step(state, InitialModelFound(10.0, ref(A)))
    assert kinds(effects) == [Commit, Encode]
    for client in "ab":
        state, effects = step(state, Heard(10.0, (client,)))
        assert effects == (), "it is asked for once"
    assert state.phase is Phase.WAITING
    return state


def planned(strategy=FEDAVG, **values) -> State:
    state = begun(strategy, **values)
    state, effects = step(state, made(state, "1"))
    assert kinds(effects) == [WritePlan]
    return state


def committed(state: State, sha256: str) -> tuple[State, Discard]:
    """The round's commit, and what goes with it."""
    for client in "ab":
        state, effects = accept(state, client)
    assert Fold in kinds(effects)
    plan = state.current.plan
    state, effects = step(state, Folded(30.0, plan.round, plan.attempt, ref(sha256)))
    return state, next(each for each in effects if isinstance(each, Discard))


@pytest.mark.parametrize("strategy", [FEDAVG, FEDBUFF], ids=lambda each: each.name)
def test_a_plan_waits_for_its_model_and_names_it(strategy):
    state = planned(strategy)
    plan = state.current.plan
    assert (plan.base, plan.broadcast.encoding, plan.broadcast.object.sha256) == (ref(A), INT8, "1" * 64)
    assert plan.fetched == plan.broadcast.object
    assert admission.update(state, "a", manifest(state, "a")) is None, "updates name the committed model"


def test_the_next_model_is_encoded_at_once_and_the_one_before_goes_a_round_later():
    state, discard = committed(planned(history_keep=1), B)
    assert discard.keep == {A, B, "1" * 64}, "a site may still be reading it"
    assert (state.encoding.round, state.encoding.model) == (2, ref(B))
    state, effects = step(state, made(state, "2"))
    assert kinds(effects) == [WritePlan]
    state, discard = committed(state, C)
    assert discard.keep == {B, C, "2" * 64}


def test_after_the_last_round_nothing_of_it_stays():
    _, discard = committed(planned(rounds=1, history_keep=1), B)
    assert discard.keep == {A, B}


def test_what_is_made_of_another_model_or_by_another_codec_is_left_out():
    state = begun()
    late = made(state, "1")
    state, effects = step(state, Configured(10.5, state.config.model_copy(update={"download": BF16})))
    assert [each.what.encoding for each in effects] == [BF16]
    state, effects = step(state, late)
    assert (effects, state.sent) == ((), None)
    state, (plan,) = step(state, made(state, "2"))
    assert plan.plan.broadcast.encoding == BF16


def test_without_it_the_next_plan_is_as_it_always_was():
    state = begun()
    state, (plan,) = step(state, Configured(10.5, state.config.model_copy(update={"download": None})))
    assert b"broadcast" not in plan.plan.canonical()
    assert state.encoding is None, "what is still being made is nobody's: its model may be deleted before it is read"
    assert plan.plan.fetched == plan.plan.base
    assert (
        plan.plan.canonical()
        == collecting("ab", rounds=5).current.plan.model_copy(update={"planned_at": 10.5}).canonical()
    )
    _, discard = committed(state, B)
    assert discard.keep == {A, B}


def test_a_later_attempt_names_the_same():
    state = planned()
    state, effects = step(state, SiteFailed(20.0, "a", 1, 1, "TaskFailed", "no"))
    plans = [each.plan for each in effects if isinstance(each, WritePlan)]
    assert [(plan.attempt, plan.broadcast.object.sha256) for plan in plans] == [(2, "1" * 64)]


def restarted(state: State, **values):
    log = Log(Head(epoch=2, round=state.tip.round, commit_sha256=state.tip_sha256), commits=(state.tip,), **values)
    return recovery.recovered(state.config, log, 50.0)


def test_a_restart_goes_on_with_what_its_plan_names_and_makes_again_what_none_does():
    before = planned()
    state, effects = restarted(before, plans=(before.current.plan,))
    assert (effects, state.sent) == ((), before.sent)
    assert broadcasting.of_plan(state, state.current.plan) == begun().encoding
    state, effects = restarted(begun())
    state, effects = step(state, Ticked(50.0))
    assert [each.what for each in effects] == [begun().encoding], "the same model, codec and draws: the same bytes"


def test_what_a_plan_names_since_a_skipped_round_survives_a_restart():
    """The model is the same, and what was made of it is of an earlier round."""
    state, _ = committed(planned(), B)
    state, (written,) = step(state, made(state, "2"))
    older = written.plan.model_copy(update={"round": 3})
    skipped = state.tip.model_copy(update={"round": 2, "previous_sha256": state.tip_sha256, "skipped": "EmptyDraw"})
    log = Log(Head(epoch=2, round=2, commit_sha256=C), commits=(*[state.tip] * 2, skipped), plans=(older,))
    state, (discard,) = recovery.recovered(state.config, log, 50.0)
    assert "2" * 64 in discard.keep
    assert broadcasting.of_plan(state, state.current.plan).round == 2


def test_after_a_rollback_the_older_model_is_encoded():
    state, _ = committed(planned(), B)
    state, _ = step(state, made(state, "2"))
    asked = RollbackTo(round=0)
    state, _ = step(state, Configured(40.0, state.config.model_copy(update={"rollback_to": asked})))
    first = state.tip.model_copy(update={"round": 0, "model": ref(A), "participants": ()})
    state, effects = step(state, RoundFound(41.0, asked, first, {}))
    (encode,) = (each for each in effects if isinstance(each, Encode))
    assert (encode.what.round, encode.what.model) == (3, ref(A))
    assert encode.what.seed == begun().encoding.seed, "of the job: the same bytes as then"


def test_a_trainer_of_before_is_refused_by_name():
    plan = planned().current.plan
    assert misfit(TODAY, plan) == misfit(TODAY, config(download=INT8)) == misfit(BEFORE, config()) == ""
    for told in (misfit(BEFORE, plan), misfit(BEFORE, config(download=INT8))):
        assert "cannot do compression.download.codec Int8: build its task image" in told
        assert told.endswith("or remove compression.download")


MAKES = {"e": "7", "f": "8"}  # a delta, and the model that it makes


def delta(state: State, digit: str, now: float = 11.0) -> Encoded:
    """What becomes of a delta, and what it makes."""
    return replace(made(state, digit, now), reference=made(state, MAKES[digit], now).object)


def referenced(state: State, sha256: str | None) -> bool:
    """Whether the last commit says that this is what sites have."""
    return (state.tip.reference and state.tip.reference.sha256) == sha256


def first_of_deltas(**values) -> State:
    """In the first round, whose sites get the initial model as it is."""
    values = {"rounds": 5, "download": INT8, "download_delta": True} | values
    state = collecting("ab", **values)
    plan = state.current.plan
    assert (plan.broadcast, plan.reference, plan.fetched) == (None, ref(A), ref(A))
    return state


def second_of_deltas(**values) -> State:
    state, _ = committed(first_of_deltas(**values), B)
    assert referenced(state, A)
    assert (state.encoding.model, state.encoding.reference) == (ref(B), ref(A))
    state, (written,) = step(state, delta(state, "e"))
    said = written.plan.broadcast
    assert (said.object.sha256, said.of, written.plan.reference.sha256) == ("e" * 64, ref(A), "7" * 64)
    assert misfit(replace(TODAY, features=TODAY.features - {DOWNLOAD}), written.plan) == ""
    return state


def test_a_plan_says_the_delta_what_it_is_of_and_what_it_makes():
    state = second_of_deltas()
    assert admission.update(state, "a", manifest(state, "a")) is None, "updates name the committed model"


def test_a_reference_stays_until_the_next_is_committed():
    state = second_of_deltas(history_keep=1)
    state, discard = committed(state, C)
    assert discard.keep == {B, C, "e" * 64, "7" * 64}, "a site may still be reading the delta"
    assert state.encoding.reference.sha256 == "7" * 64
    state, _ = step(state, delta(state, "f"))
    _, discard = committed(state, "d" * 64)
    assert discard.keep == {C, "d" * 64, "f" * 64, "8" * 64}


def test_after_the_last_round_no_reference_stays():
    _, discard = committed(second_of_deltas(rounds=2, history_keep=1), C)
    assert discard.keep == {B, C}


@pytest.mark.parametrize("found", ["plan", "commit"])
def test_a_restart_makes_the_same_delta_to_the_same_reference(found):
    before = second_of_deltas()
    plans = (before.current.plan,) if found == "plan" else ()
    state, effects = restarted(before, plans=plans)
    if plans:
        assert (effects, state.sent) == ((), before.sent)
        assert broadcasting.of_plan(state, state.current.plan) == before.sent.what
        return
    state, (encode,) = step(state, Ticked(50.0))
    assert encode.what == before.sent.what


def test_a_later_attempt_names_the_same_delta():
    _, effects = step(second_of_deltas(), SiteFailed(20.0, "a", 2, 1, "TaskFailed", "no"))
    (plan,) = (each.plan for each in effects if isinstance(each, WritePlan))
    assert (plan.attempt, plan.broadcast.object.sha256, plan.reference.sha256) == (2, "e" * 64, "7" * 64)


def test_without_a_delta_that_is_smaller_the_model_itself_is_the_next_reference():
    state, _ = committed(first_of_deltas(), B)
    state, (written,) = step(state, Encoded(11.0, state.encoding, None, 100))
    assert (written.plan.broadcast, written.plan.reference) == (None, ref(B))
    state, _ = committed(state, C)
    assert referenced(state, B)


def test_after_a_rollback_the_older_model_goes_as_it_is():
    """What sites have is of what was given up."""
    state, asked = second_of_deltas(), RollbackTo(round=0)
    state, _ = step(state, Configured(40.0, state.config.model_copy(update={"rollback_to": asked})))
    first = state.tip.model_copy(update={"round": 0, "model": ref(A), "participants": ()})
    state, effects = step(state, RoundFound(41.0, asked, first, {}))
    assert referenced(state, None)
    (plan,) = (each.plan for each in effects if isinstance(each, WritePlan))
    assert (plan.base, plan.broadcast, plan.reference) == (ref(A), None, ref(A))


@pytest.mark.parametrize(
    "to", [{"download": BF16}, {"download": None, "download_delta": False}, {"download_delta": False}]
)
def test_a_change_of_the_configuration_acts_at_the_next_plan(to):
    state = second_of_deltas()
    state, effects = step(state, Configured(20.0, state.config.model_copy(update=to)))
    assert effects == ()
    state, _ = committed(state, C)
    assert referenced(state, "7" * 64)
    if to == {"download": BF16}:  # another codec goes on from what sites have
        assert (state.encoding.encoding, state.encoding.reference.sha256) == (BF16, "7" * 64)
        return
    if to == {"download_delta": False}:
        assert state.encoding.reference is None
        state, _ = step(state, made(state, "f"))
    assert state.current.plan.reference is None
    state, _ = committed(state, "d" * 64)
    assert referenced(state, None)


def test_deltas_begin_in_mid_job_with_a_model_as_it_is():
    state, _ = committed(planned(), B)
    state, effects = step(state, Configured(20.0, state.config.model_copy(update={"download_delta": True})))
    (plan,) = (each.plan for each in effects if isinstance(each, WritePlan))
    assert (plan.broadcast, plan.reference) == (None, ref(B))


def test_a_trainer_without_deltas_is_refused_by_name():
    older = replace(TODAY, features=TODAY.features - {DELTA})
    for work in (first_of_deltas().current.plan, config(download=INT8, download_delta=True)):
        assert misfit(TODAY, work) == ""
        told = misfit(older, work)
        assert "cannot do compression.download.delta true: build its task image" in told
        assert told.endswith("or remove compression.download")


@pytest.mark.parametrize("delivered", [True, False])
def test_what_cannot_be_made_again_is_waited_for_by_nobody(delivered):
    state = second_of_deltas(quorum=1)
    if delivered:
        state, _ = accept(state, "a")
    other, effects = step(state, BroadcastLost(20.0, 2, 7))
    assert (other, effects) == (state, ())
    state, effects = step(state, BroadcastLost(20.0, 2, 1))
    if delivered:
        assert Fold in kinds(effects)
        return
    (encode,) = (each for each in effects if isinstance(each, Encode))
    assert encode.what.reference == ref(A)
    state, effects = step(state, Encoded(21.0, encode.what, None, 100))
    (plan,) = (each.plan for each in effects if isinstance(each, WritePlan))
    assert (plan.attempt, plan.base, plan.broadcast, plan.reference) == (2, ref(B), None, ref(B))
