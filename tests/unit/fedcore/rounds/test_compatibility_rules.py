"""What a site speaks decides whether it is selected, waited for and told to go; the digests of old records decide nothing else."""

from dataclasses import replace

import pytest

from fedaggregator.status import status
from fedapi.wire.compression import Compression
from fedapi.wire.plan import PlanRecord
from fedapi.wire.protocol import COMPRESSION, ENCRYPTION, FEATURES, FRAGMENTS, OLDEST_AT_SITE, PROTOCOL
from fedapi.wire.strategy import StrategySettings
from fedapi.wire.training import Method, TrainingSettings
from fedcore.rounds import admission, assignment, machine, planning
from fedcore.rounds.compatibility import Speech, misfit
from fedcore.rounds.effects import WriteFailure, WritePlan
from fedcore.rounds.events import Configured, Folded, Heard, InitialModelFound
from fedcore.rounds.state import End, Phase, State
from tests.unit.fedcore.rounds.test_round_rules import A, B, accept, collecting, config, kinds, manifest, ref

OLD, TODAY = Speech(), Speech(PROTOCOL, OLDEST_AT_SITE, frozenset(FEATURES))
NEWER, MUCH_NEWER = Speech(PROTOCOL + 1, PROTOCOL, frozenset()), Speech(PROTOCOL + 2, PROTOCOL + 1, frozenset(FEATURES))
STRICT, WARN = TrainingSettings(), TrainingSettings(determinism="Warn")


@pytest.mark.parametrize(
    ("speech", "training", "told"),
    [
        (None, WARN, ""),
        (OLD, STRICT, ""),
        (OLD, WARN, "cannot do training.determinism Warn: build its task image with a trainer of this hub's version, or set it"),
        (TODAY, WARN, ""),
        (NEWER, STRICT, ""),
        (MUCH_NEWER, STRICT, f"protocol {PROTOCOL + 1} to {PROTOCOL + 2}, this hub 1 to {PROTOCOL}"),
        (Speech(0, 0), STRICT, f"it speaks protocol 0, this hub 1 to {PROTOCOL}"),
    ],
)  # fmt: skip
def test_what_fits(speech, training, told):
    found = misfit(speech, config(training=training))
    assert told in found
    assert bool(found) is bool(told)


def test_encryption_is_asked_of_those_alone_who_can_do_it():
    without = replace(TODAY, features=TODAY.features - {ENCRYPTION})
    wanted = config(encryption="X25519")
    assert misfit(TODAY, wanted) == misfit(without, config()) == ""
    assert "cannot do storage.clientEncryption: build its task image" in misfit(without, wanted)
    state = machine.step(State(config("ab", encryption="X25519"), epoch=1), InitialModelFound(1.0, ref(A)))[0]
    state, _ = heard(state, "a", TODAY)
    state, _ = heard(state, "b", TODAY)
    assert state.current.plan.encryption == "X25519"
    state, _ = machine.step(state, Configured(11.0, config("ab")))
    state, effects = heard(state, "a", without, 12.0)
    assert kinds(effects) == [WriteFailure, WritePlan], "the plan under way decides, and then the configuration"
    assert (state.current.plan.attempt, state.current.plan.encryption) == (2, None)


AT_SITES = [
    ("FedProx", {"mu": 0.1}, "proximal", {"proximal": 0.1}),
    ("FedSGD", {"learning_rate": 0.1}, "full-gradient", {"full_gradient": True}),
    ("SCAFFOLD", {"learning_rate": 1.0}, "control-variates", {"control_variates": 2}),
    ("DiLoCo", {"learning_rate": 0.7, "momentum": 0.9}, "keep-optimizer", {"keep_optimizer": True}),
]


@pytest.mark.parametrize(("name", "numbers", "feature", "asked"), AT_SITES, ids=[row[0] for row in AT_SITES])
def test_a_strategy_with_a_part_at_the_sites_is_planned_so_and_asked_of_those_alone_who_can(
    name, numbers, feature, asked
):
    wanted = config("ab", strategy=StrategySettings(name=name, parameters=numbers))
    without = replace(TODAY, features=TODAY.features - {feature})
    assert misfit(TODAY, wanted) == misfit(without, config()) == ""
    assert f"cannot do strategy.name {name} ({feature}): build its task image" in misfit(without, wanted)
    state = machine.step(State(wanted, epoch=1), InitialModelFound(1.0, ref(A)))[0]
    for client in "ab":
        state, _ = heard(state, client, TODAY)
    assert state.current.plan.training.method == Method(**asked)
    assert state.config.training.method is None
    stored = PlanRecord.stored(state.current.plan.sealed().canonical())
    assert feature in misfit(without, stored), "the plan says it, too"


def test_fragments_are_asked_of_those_alone_who_can_hold_them_back():
    without = replace(TODAY, features=TODAY.features - {FRAGMENTS})
    numbers = {"learning_rate": 0.7, "momentum": 0.9}
    whole, divided = (StrategySettings(name="DiLoCo", parameters=numbers, fragments=count) for count in (None, 3))
    assert misfit(TODAY, config(strategy=divided)) == misfit(without, config(strategy=whole)) == ""
    assert "cannot do strategy.diLoCo.fragments 3: build its task image" in misfit(without, config(strategy=divided))
    assert misfit(without, config(strategy=divided)).endswith("or set it to 1")
    state = machine.step(State(config("a", strategy=divided), epoch=1), InitialModelFound(1.0, ref(A)))[0]
    state, _ = heard(state, "a", TODAY)
    assert state.current.plan.training.method == Method(keep_optimizer=True, fragments=3)
    assert "fragments" not in Method(keep_optimizer=True).model_dump(), "plans of others are what they were"


NOVA = StrategySettings(name="FedNova")


def test_a_strategy_that_counts_optimizer_steps_takes_no_trainer_that_does_not_say_them():
    assert misfit(TODAY, config(strategy=NOVA)) == misfit(OLD, config()) == ""
    assert "cannot do strategy.name FedNova, which needs the sites' optimizer steps: build" in misfit(
        OLD, config(strategy=NOVA)
    )


@pytest.mark.parametrize(
    ("steps", "samples", "refused"), [(None, 5, True), (0, 5, True), (1, 5, False), (None, 0, False)]
)
def test_an_update_that_does_not_say_its_steps_is_refused_where_they_count(steps, samples, refused):
    for strategy in (NOVA, StrategySettings()):
        state = collecting("ab", strategy=strategy)
        answer = admission.update(state, "a", manifest(state, "a", samples, steps=steps))
        assert (answer is not None) is (refused and strategy is NOVA)
        assert answer is None or "strategy FedNova needs the optimizer steps of an update" in answer.message


def test_a_codec_is_asked_of_those_alone_who_have_it():
    without = replace(TODAY, features=TODAY.features - {COMPRESSION})
    wanted = config(compression=Compression(codec="Int4"))
    assert misfit(TODAY, wanted) == misfit(without, config()) == ""
    words = (
        "cannot do compression.codec Int4: build its task image with a trainer of this hub's version, or set it to None"
    )
    assert words in misfit(without, wanted)
    assert "compression.codec Int4" in misfit(OLD, wanted)


def heard(state: State, client: str, speech: Speech, now: float = 10.0):
    return machine.step(state, Heard(now, (client,), {client: speech}))


def waiting(clients: str = "abc", **values) -> State:
    state = State(config(clients, training=WARN, **values), epoch=1)
    return machine.step(state, InitialModelFound(1.0, ref(A)))[0]


def told(state: State) -> dict[str, tuple[str, str]]:
    return {client["name"]: (client["state"], client["message"]) for client in status(state)["clients"]}


def test_a_site_that_does_not_fit_is_not_selected_and_the_status_says_why():
    state = waiting(min_available=2)
    state, effects = heard(state, "a", OLD)
    state, more = heard(state, "b", TODAY)
    assert (effects, more) == ((), ()), "one of two fits"
    assert told(state)["a"] == ("Incompatible", planning.misfit(state, "a"))
    assert next(iter(told(state))) == "a"
    state, effects = heard(state, "c", TODAY)
    assert kinds(effects) == [WritePlan]
    assert state.current.plan.selected == ("b", "c")


def test_an_attempt_does_not_wait_for_a_site_that_turns_out_not_to_fit():
    state = waiting("ab", min_available=1, quorum=1)
    state, _ = heard(state, "b", TODAY)
    assert state.current.plan.selected == ("a", "b"), "a was not heard yet"
    state, effects = heard(state, "a", OLD)
    assert (effects, state.current.pending) == ((), {"b"})
    assert (state.site("a").failures, "determinism" in state.site("a").message) == (1, True)
    assert told(state)["a"][0] == "Incompatible"
    state, _ = accept(state, "b")
    assert state.phase is Phase.FOLDING


def test_an_attempt_whose_quorum_it_takes_away_fails_at_once():
    state, _ = heard(waiting("ab", min_available=1), "b", TODAY)
    state, effects = heard(state, "a", OLD)
    assert kinds(effects) == [WriteFailure, WritePlan]
    assert "cannot do training.determinism Warn" in effects[0].failure.message
    assert state.current.plan.selected == ("b",)


def test_the_plan_decides_for_those_who_take_part_and_the_configuration_for_all_others():
    state, _ = machine.step(State(config("a"), epoch=1), InitialModelFound(1.0, ref(A)))
    state, _ = heard(state, "a", OLD)
    assert state.current.plan.selected == ("a",)
    state, _ = machine.step(state, Configured(11.0, config("ab", training=WARN)))
    state, _ = heard(state, "b", OLD, 12.0)
    assert (planning.misfit(state, "a"), bool(planning.misfit(state, "b"))) == ("", True)
    state, _ = accept(state, "a")
    state, effects = machine.step(state, Folded(30.0, 1, 1, ref(B)))
    assert WritePlan not in kinds(effects), "nobody is left"
    assert [name for name, (what, _) in told(state).items() if what == "Incompatible"] == ["a", "b"]


def test_who_speaks_anew_fits_again():
    state, _ = heard(waiting("a"), "a", OLD)
    assert state.current is None
    state, effects = heard(state, "a", TODAY, 12.0)
    assert kinds(effects) == [WritePlan]


def test_with_lifetime_round_an_earlier_process_says_nothing_about_the_next_one():
    state, _ = heard(waiting("ab", lifetime="Round", quorum=1), "a", OLD)
    assert (state.current.pending, told(state)["a"][0]) == ({"b"}, "Incompatible")
    state, _ = accept(state, "b")
    state, _ = machine.step(state, Folded(30.0, 1, 1, ref(B)))
    assert state.current.plan.selected == ("a", "b")
    assert (planning.misfit(state, "a"), told(state)["a"][0]) == ("", "Waiting")


def test_the_end_is_told_to_who_could_do_no_work_and_to_nobody_who_would_not_understand_it():
    state = waiting("abc", rounds=1, min_available=1, quorum=1)
    state = replace(state, phase=Phase.FINISHED, end=End("Succeeded", "RoundsDone", "", 30.0))
    for client, speech in {"a": OLD, "b": TODAY, "c": MUCH_NEWER}.items():
        state, effects = heard(state, client, speech, 40.0)
        assert effects == ()
    assert [planning.misfit(state, client) for client in "ab"] == ["", ""]
    assert {assignment.kind(state, client, None) for client in "ab"} == {"Done"}
    assert "upgrade the hub" in planning.misfit(state, "c"), "asked first, and told in place of what it is to do"
    assert [told(state)[client][0] for client in "abc"] == ["Idle", "Idle", "Incompatible"]
