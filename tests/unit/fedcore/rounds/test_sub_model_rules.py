"""Which sub-model a site trains is frozen in the plan, asked of those alone who can, folded as it was planned, and in no record of other jobs."""

from dataclasses import replace

import pytest

from fedapi.wire.plan import PlanRecord
from fedapi.wire.protocol import FEATURES, OLDEST_AT_SITE, PROTOCOL, SUB_MODELS
from fedapi.wire.roster import RosterEntry
from fedapi.wire.store import CloseRecord, Head
from fedapi.wire.training import TrainingOverride
from fedcore.rounds import admission, initial, machine, planning, recovery
from fedcore.rounds.compatibility import Speech
from fedcore.rounds.effects import Fold
from fedcore.rounds.events import Heard, InitialModelFound
from fedcore.rounds.recovery import Log
from fedcore.rounds.state import State
from fedcore.tensors.tensorfile import Tensor, TensorFile
from tests.unit.fedcore.rounds.test_round_rules import A, accept, config, ref

TODAY = Speech(PROTOCOL, OLDEST_AT_SITE, frozenset(FEATURES))
BEFORE = replace(TODAY, features=TODAY.features - {SUB_MODELS})
ROSTER = (RosterEntry(name="a", override=0), RosterEntry(name="b"))
HALF = (TrainingOverride(model_width=0.5),)


def narrow(**values):
    return config("ab", **values).model_copy(update={"roster": ROSTER, "overrides": HALF})


def collecting(**values) -> State:
    state, _ = machine.step(State(narrow(**values), epoch=1), InitialModelFound(10.0, ref(A), partial=True))
    for client in "ab":
        state, _ = machine.step(state, Heard(10.0, (client,), {client: TODAY}))
    return state


def test_a_plan_says_who_trains_which_and_the_fold_goes_by_it_after_a_changed_spec_too():
    state = collecting()
    assert [state.current.plan.training_of(client).model_width for client in "ab"] == [0.5, None]
    assert [admission.width(state, client) for client in "ab"] == [0.5, None]
    accepted = state
    for client in "ab":
        accepted, effects = accept(accepted, client)
    (fold,) = (each for each in effects if isinstance(each, Fold))
    assert [(term.client, term.width) for term in fold.terms] == [("a", 0.5), ("b", None)]
    assert fold.initial == ref(A)
    plan = PlanRecord.stored(accepted.current.plan.sealed().canonical())
    log = Log(
        Head(epoch=2, round=0, commit_sha256=accepted.tip_sha256),
        commits=(accepted.tip,),
        plans=(plan,),
        manifests=tuple(accepted.current.accepted.values()),
        closes=(CloseRecord(job_uid="uid", round=1, attempt=1, accepted=("a", "b"), reason="Quorum", at=20.0),),
    )
    _, (again,) = recovery.recovered(config("ab"), log, 50.0)
    assert again == fold


def test_a_trainer_that_cannot_is_refused_by_name_where_its_own_site_is_asked():
    state = collecting()
    state, _ = machine.step(state, Heard(11.0, ("a", "b"), {"a": BEFORE, "b": BEFORE}))
    told = planning.misfit(state, "a")
    assert told.startswith("its trainer (protocol 2) cannot do clients.overrides.modelWidth 0.5: build its task image")
    assert "take it out of the site's override" in told
    assert planning.misfit(state, "b") == "", "it trains the whole model"
    idle = replace(state, current=None)
    assert [bool(planning.misfit(idle, client)) for client in "ab"] == [True, False], "nor is it selected"


def test_records_of_jobs_without_sub_models_say_what_they_said():
    plain = config("ab", overrides=(TrainingOverride(batch_size=3),))
    assert b"model_width" not in plain.canonical()
    assert b"sub_models" not in plain.canonical()


def table(**widths) -> TensorFile:
    said = {"widths": widths} if widths else {}
    return TensorFile(100, (Tensor("w", "F32", (4,), 0, 16),), said=said)


@pytest.mark.parametrize(
    ("widths", "told"),
    [
        ({"0.5": {"w": [2]}}, ""),
        ({"0.25": {"w": [1]}}, "does not say which tensors are smaller at clients.overrides.modelWidth 0.5: build"),
        ({}, "does not say which tensors are smaller at clients.overrides.modelWidth 0.5: build"),
    ],
)
def test_an_initial_model_that_does_not_know_the_job_s_widths_is_refused(widths, told):
    refusal = initial.unfit(State(narrow(), epoch=1), table(**widths))
    assert (told in refusal.message) if told else refusal is None
