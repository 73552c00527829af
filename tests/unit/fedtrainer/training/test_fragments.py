"""DiLoCo by fragments: sites and hub in this process, against closed forms in numpy, and against DiLoCo as a whole."""

import numpy as np
import pytest
import torch

from fedapi.wire.compression import Compression
from fedtrainer.errors import DivergedError, SiteStateError, TaskInvalidError
from tests.unit.fedtrainer.training.methods.federation import Federation, settings
from tests.unit.fedtrainer.training.methods.quadratics import WIDTH, Layered, Layers, Squares

STEPS, RATE, MOMENTUM, OUTER = 3, 0.1, 0.9, 0.7
SGD = settings(local_steps=STEPS, optimizer={"learning_rate": RATE})
ADAMW = settings(local_steps=STEPS, optimizer={"name": "AdamW", "learning_rate": 0.05, "weight_decay": 0.1})
NUMBERS = {"momentum": MOMENTUM, "learning_rate": OUTER}


TASKS = {"a": Layered(1), "b": Layered(2, samples=9)}
WEIGHTS = [f"parts.{index}.weight" for index in range(WIDTH)]


def of(model):
    return np.array([model[name].item() for name in WEIGHTS])


def closed_form(rounds, count):
    """The hub's model after each round. A site's steps of SGD are w* + (1 - rate H)^K (w - w*), its own w* and H."""
    hub, velocity = np.ones(WIDTH), np.zeros(WIDTH)
    own = {name: hub.copy() for name in TASKS}
    maps = {}
    for name, task in TASKS.items():
        hessian = task.inputs.T @ task.inputs / len(task.targets)
        least = np.linalg.solve(hessian, task.inputs.T @ task.targets / len(task.targets))
        maps[name] = least, np.linalg.matrix_power(np.eye(WIDTH) - RATE * hessian, STEPS)
    found = []
    for number, names in enumerate(rounds):
        due = np.arange(WIDTH) % count == number % count
        total, update = sum(len(TASKS[name].targets) for name in names), np.zeros(WIDTH)
        for name in names:
            least, power = maps[name]
            own[name] = least + power @ (own[name] - least)
            update += len(TASKS[name].targets) / total * (own[name] - hub)
        velocity = np.where(due, MOMENTUM * velocity + update, velocity)
        hub = np.where(due, hub + OUTER * (update + MOMENTUM * velocity), hub)
        for values in own.values():
            values[due] = hub[due]
        found.append(hub)
    return found


ALL = [("a", "b")] * 6
MISSED = [("a", "b"), ("a",), ("a",), ("a", "b"), ("b",), ("a", "b"), ("a",), ("a", "b")]


@pytest.mark.parametrize("rounds", [ALL, MISSED], ids=["all", "missed"])
@pytest.mark.parametrize("count", [2, 3])
def test_it_is_the_papers_algorithm(tmp_path, count, rounds):
    """Also where a site has missed its turns: what the hub has stepped takes the place of its own values."""
    job = Federation(tmp_path, TASKS, "DiLoCo", SGD, fragments=count, **NUMBERS)
    for names, expected in zip(rounds, closed_form(rounds, count), strict=True):
        np.testing.assert_allclose(of(job.go_on(*names)), expected, rtol=0, atol=1e-12)


def test_without_an_outer_step_it_is_one_long_training(tmp_path):
    """Momentum 0 and rate 1 at one site: every fragment goes on where it was, in whatever round it is sent."""
    job = Federation(tmp_path, {"a": TASKS["a"]}, "DiLoCo", ADAMW, fragments=3, momentum=0.0, learning_rate=1.0)
    models = [job.go_on() for _ in range(3)]
    for number, (model, name) in enumerate(zip(models, WEIGHTS, strict=True), 1):
        long = Federation(
            tmp_path / name, {"a": TASKS["a"]}, "FedAvg", ADAMW.model_copy(update={"local_steps": STEPS * number})
        ).go_on()
        assert torch.allclose(model[name], long[name], rtol=0, atol=1e-12)
        assert torch.equal(models[-1][name], model[name]), "the hub has it as it was sent last"


def test_a_round_sends_and_steps_its_fragment_and_no_other(tmp_path):
    job = Federation(tmp_path, TASKS, "DiLoCo", ADAMW, fragments=2, **NUMBERS)
    before = job.now()
    for due in ({WEIGHTS[0], WEIGHTS[2]}, {WEIGHTS[1]}) * 2:
        after = job.go_on()
        assert job.payload("a").keys() == job.payload("b").keys() == due
        assert {name for name in WEIGHTS if not torch.equal(before[name], after[name])} == due
        held = {name.removeprefix("fedloom.fragments.") for name in job.state("a") if ".fragments." in name}
        assert held == {*WEIGHTS} - due
        before = after


def test_attempts_that_failed_leave_nothing(tmp_path):
    undisturbed = Federation(tmp_path / "calm", TASKS, "DiLoCo", ADAMW, fragments=2, **NUMBERS)
    job = Federation(tmp_path, TASKS, "DiLoCo", ADAMW, fragments=2, **NUMBERS)
    for _ in range(3):
        job.train("a", attempt=2)
        job.train("b", attempt=3)
        expected, found = undisturbed.go_on(), job.go_on()
        assert all(torch.equal(found[name], expected[name]) for name in WEIGHTS)


def test_going_back_is_found_by_the_hubs_values(tmp_path):
    """The site's state of a later round, which cannot be had in a job that went back, is of no use; with that of the round it is."""
    job = Federation(tmp_path, TASKS, "DiLoCo", ADAMW, fragments=2, **NUMBERS)
    job.go_on()
    then = job.model, job.hub_state, dict(job.committed), job.round
    first = job.go_on()
    job.model, job.hub_state, job.committed, job.round = then
    again = job.go_on()
    assert all(torch.equal(first[name], again[name]) for name in WEIGHTS)


def test_a_lost_state_is_an_error(tmp_path):
    job = Federation(tmp_path, TASKS, "DiLoCo", SGD, fragments=2, **NUMBERS)
    job.go_on()
    for file in (tmp_path / "a" / "state").iterdir():
        file.unlink()
    with pytest.raises(SiteStateError, match="asks for the site's state, which has to be that of round 1"):
        job.train("a")


@pytest.mark.parametrize(
    "compression",
    [
        Compression(codec="Int4"),
        Compression(codec="TopK", fraction=0.25, error_feedback=True),
    ],
    ids=lambda each: each.codec,
)
def test_each_fragment_is_encoded_for_itself(tmp_path, compression):
    """What was not sent of one waits for its next turn."""
    tasks = {"a": Wide(1), "b": Wide(2)}
    job = Federation(tmp_path, tasks, "DiLoCo", SGD, fragments=2, compression=compression, **NUMBERS)
    for _ in range(4):
        job.go_on()
    residuals = {name.removeprefix("fedloom.residual.") for name in job.state("a") if ".residual." in name}
    assert residuals == ({"0.weight", "1.weight"} if compression.error_feedback else set())


class Wide(Squares):
    """Two layers that are large enough to be worth encoding."""

    def model(self):
        layers = [torch.nn.Linear(WIDTH, 400, bias=False), torch.nn.Linear(400, 4, bias=False)]
        return torch.nn.Sequential(*layers).double()


class Diverging(Layered):
    """Training spoils a tensor that is not sent in round 1."""

    def train(self, model, data, settings, ctx):
        done = super().train(model, data, settings, ctx)
        with torch.no_grad():
            model.parts[1].weight.fill_(float("nan"))
        return done


def test_what_is_not_sent_has_to_be_finite_too(tmp_path):
    with pytest.raises(DivergedError, match=WEIGHTS[1]):
        Federation(tmp_path, {"a": Diverging(1)}, "DiLoCo", SGD, fragments=2, **NUMBERS).go_on()


def test_more_fragments_than_layers_are_refused(tmp_path):
    with pytest.raises(TaskInvalidError, match=r"strategy\.diLoCo\.fragments is 4, and the model has 3 layers"):
        Federation(tmp_path, TASKS, "DiLoCo", SGD, fragments=4, **NUMBERS).train("a")


def test_fragments_can_be_changed_in_the_middle(tmp_path):
    """Every tensor is known by what it began with, so another division finds its own; where all are sent, none is left behind."""
    job = Federation(tmp_path, {"a": TASKS["a"]}, "DiLoCo", ADAMW, fragments=2, momentum=0.0, learning_rate=1.0)
    for count in (3, None):
        job.go_on()
        job.strategy = job.strategy.model_copy(update={"fragments": count})
    long = Federation(
        tmp_path / "long", {"a": TASKS["a"]}, "FedAvg", ADAMW.model_copy(update={"local_steps": 3 * STEPS})
    )
    np.testing.assert_allclose(of(job.go_on()), of(long.go_on()), rtol=0, atol=1e-12)
    assert not [name for name in job.state("a") if "fragments" in name]


class Tied(Layered):
    def model(self):
        made = Layers()
        made.parts[2].weight = made.parts[1].weight
        return made


def test_one_parameter_in_two_fragments_is_refused_by_name(tmp_path):
    words = "'parts.2.weight' and 'parts.1.weight' are one parameter, and in different fragments"
    with pytest.raises(TaskInvalidError, match=words):
        Federation(tmp_path, {"a": Tied(1)}, "DiLoCo", SGD, fragments=2, **NUMBERS).train("a")
