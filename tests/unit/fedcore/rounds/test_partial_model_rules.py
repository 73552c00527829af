"""A job of whose model a part travels: every commit and plan names the initial model, which stays, and sites must know of it."""

from dataclasses import replace

import pytest

from fedapi.wire.job import RollbackTo
from fedapi.wire.protocol import EXCHANGE, FEATURES, OLDEST_AT_SITE, PROTOCOL
from fedapi.wire.strategy import StrategySettings
from fedapi.wire.training import TrainingSettings
from fedcore.rounds import initial, machine
from fedcore.rounds.compatibility import Speech, misfit
from fedcore.rounds.effects import Commit, Discard
from fedcore.rounds.events import Folded, Heard, InitialModelFound, RoundFound
from fedcore.rounds.state import State
from fedcore.tensors.tensorfile import Tensor, TensorFile, misnamed
from tests.unit.fedcore.rounds.test_round_rules import A, B, C, accept, config, ref

D = "d" * 64
TODAY = Speech(PROTOCOL, OLDEST_AT_SITE, frozenset(FEATURES))
BEFORE = replace(TODAY, features=TODAY.features - {EXCHANGE})


def planned(**values) -> State:
    state, effects = machine.step(State(config("ab", **values), epoch=1), InitialModelFound(10.0, ref(A), partial=True))
    (commit,) = (each.commit for each in effects if isinstance(each, Commit))
    assert commit.model == commit.initial == ref(A)
    assert commit.objects == (ref(A),)
    for client in "ab":
        state, _ = machine.step(state, Heard(10.0, (client,), {client: TODAY}))
    return state


def folded(state: State, sha256: str) -> tuple[State, list]:
    for client in "ab":
        state, _ = accept(state, client)
    plan = state.current.plan
    return machine.step(state, Folded(20.0, plan.round, plan.attempt, ref(sha256), None))


def test_every_commit_and_plan_names_it_and_history_never_deletes_it():
    state = planned(rounds=5, history_keep=1)
    for sha256 in (B, C, D):
        assert state.current.plan.initial == ref(A)
        state, effects = folded(state, sha256)
        assert state.tip.objects == (ref(sha256), ref(A))
        (discard,) = (each for each in effects if isinstance(each, Discard))
        assert A in discard.keep
    assert discard.keep == {A, C, D}


def test_a_rollback_to_the_initial_model_is_always_there():
    state, _ = folded(planned(rounds=5, history_keep=1), B)
    state, _ = folded(state, C)
    asked = RollbackTo(round=0)
    state, _ = machine.step(
        replace(state, config=state.config.model_copy(update={"rollback_to": asked})), Heard(30.0, ())
    )
    assert state.seeking is not None, state.decided
    first = state.tip.model_copy(update={"round": 0, "model": ref(A), "initial": ref(A), "participants": ()})
    state, effects = machine.step(state, RoundFound(31.0, asked, first, {}))
    (commit,) = (each.commit for each in effects if isinstance(each, Commit))
    assert (commit.round, commit.model, commit.initial) == (3, ref(A), ref(A))


def test_a_commit_without_it_says_what_it_always_said():
    _, effects = machine.step(State(config("ab"), epoch=1), InitialModelFound(10.0, ref(A)))
    (commit,) = (each.commit for each in effects if isinstance(each, Commit))
    assert b"initial" not in commit.canonical()


def test_a_trainer_of_before_is_refused_by_name():
    state = planned()
    assert misfit(BEFORE, config()) == misfit(TODAY, state.current.plan) == ""
    for told in (misfit(BEFORE, state.current.plan), misfit(BEFORE, config(), partial=True)):
        assert "cannot do tensors that do not travel" in told
        assert "build its task image with a trainer of this hub's version" in told
    state, _ = machine.step(state, Heard(11.0, ("a",), {"a": BEFORE}))
    assert "tensors that do not travel" in state.site("a").message


def table(*names, **kinds) -> TensorFile:
    tensors = tuple(Tensor(name, "F32", (1,), 4 * at, 4 * at + 4) for at, name in enumerate(names))
    return TensorFile(100, tensors, **{kind: frozenset(named) for kind, named in kinds.items()})


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (table("a", "b", frozen=["b"]), ""),
        (table("a", "b", frozen=["c"]), "'c' is said to stay"),
        (table("a", "b", frozen=["b"], local=["b"]), "'b' is frozen and local"),
        (table("a", "b", frozen=["a"], local=["b"]), "no tensor is left that travels"),
    ],
)
def test_what_an_initial_model_may_say(said, told):
    assert told in misnamed(said)
    assert bool(misnamed(said)) is bool(told)
    assert [tensor.name for tensor in table("a", "b", frozen=["b"]).exchanged.tensors] == ["a"]


def test_an_initial_model_that_leaves_out_what_the_job_says_is_refused():
    state = State(config("ab", training=TrainingSettings(local_parameters=("b",))), epoch=1)
    assert "does not say which tensors training.localParameters" in initial.unfit(state, table("a", "b")).message
    assert initial.unfit(state, table("a", "b", local=["b"])) is None


def test_an_initial_model_of_fewer_layers_than_the_job_has_fragments_is_refused():
    strategy = StrategySettings(name="DiLoCo", parameters={"momentum": 0.9, "learning_rate": 0.7}, fragments=2)
    state = State(config("ab", strategy=strategy), epoch=1)
    refusal = initial.unfit(state, table("a.w", "b.w", frozen=["b.w"]))
    assert "strategy.diLoCo.fragments is 2, and the model has 1 layers that travel: set at most" in refusal.message
    assert initial.unfit(state, table("a.w", "b.w")) is None
