"""SCAFFOLD against the paper's algorithm 1 with option II, written down plainly: trainer and fold together, round after round."""

import numpy as np
import pytest
import torch
from safetensors.torch import load

from fedapi.wire.update import CONTROL
from fedtrainer import TrainResult
from fedtrainer.errors import SiteStateError, TaskInvalidError
from tests.unit.fedtrainer.training.methods.federation import Federation, settings
from tests.unit.fedtrainer.training.methods.quadratics import WIDTH, Squares, best

STEPS, RATE, SERVER = 4, 0.1, 0.9
TASKS = {"a": Squares(1), "b": Squares(2), "c": Squares(3, samples=9)}
ROUNDS = [("a", "b", "c"), ("a", "c"), ("b",), ("a", "b", "c"), ("b", "c"), ("a",)]


def paper(rounds, mistake=""):
    """x and c after each round. `mistake`: one of those that implementations are known for."""
    x, c = np.ones(WIDTH), np.zeros(WIDTH)
    own = dict.fromkeys(TASKS, np.zeros(WIDTH))
    if mistake == "wrong first c":
        own = {name: task.gradient(x) for name, task in TASKS.items()}
    found = []
    for names in rounds:
        steps, changes = [], []
        for name in names:
            y = x.copy()
            for _ in range(STEPS):
                sign = -1 if mistake == "wrong sign" else 1
                y = y - RATE * (TASKS[name].gradient(y) + sign * (c - own[name]))
            after = own[name] - c + (x - y) / (STEPS * RATE)
            changes.append(after if mistake == "sends c" else after - own[name])
            steps.append(y - x)
            own[name] = after
        among = len(names) if mistake == "wrong denominator" else len(TASKS)
        x = x + SERVER * sum(steps) / len(names)
        c = c + sum(changes) / among
        found.append((x.copy(), c.copy()))
    return found


@pytest.fixture
def job(tmp_path):
    return Federation(tmp_path, TASKS, "SCAFFOLD", settings(local_steps=STEPS), learning_rate=SERVER)


def control(job):
    """c, as the hub has it."""
    (total,) = load_of(job).values()
    return total.numpy().ravel() / len(TASKS)


def load_of(job):
    return load(job.store.get(job.hub_state.key))


def test_it_is_algorithm_1_with_option_ii(job):
    expected = paper(ROUNDS)
    for names, (x, c) in zip(ROUNDS, expected, strict=True):
        model = job.go_on(*names)
        assert np.allclose(model["weight"].numpy().ravel(), x, rtol=0, atol=1e-12)
        assert np.allclose(control(job), c, rtol=0, atol=1e-12)


@pytest.mark.parametrize("mistake", ["sends c", "wrong sign", "wrong denominator", "wrong first c"])
def test_the_test_above_tells_known_mistakes(mistake):
    right, wrong = paper(ROUNDS)[-1], paper(ROUNDS, mistake)[-1]
    assert max(np.abs(a - b).max() for a, b in zip(right, wrong, strict=True)) > 1e-3


def test_the_hubs_control_is_the_mean_of_those_of_all_sites(job):
    for names in ROUNDS:
        job.go_on(*names)
    kept = [job.state(name).get("fedloom.control.weight") for name in TASKS]
    assert np.allclose(control(job), sum(each.numpy().ravel() for each in kept) / 3, atol=1e-12)


def test_it_reaches_what_fedavg_drifts_away_from(tmp_path):
    given = settings(local_steps=8, optimizer={"learning_rate": 0.2})
    job = Federation(tmp_path / "scaffold", TASKS, "SCAFFOLD", given, learning_rate=1.0)
    drifting = Federation(tmp_path / "fedavg", TASKS, "FedAvg", given)
    for _ in range(15):
        model, other = job.go_on(), drifting.go_on()
    aim = best(list(TASKS.values()))
    assert np.abs(model["weight"].numpy().ravel() - aim).max() < 1e-3
    assert np.abs(other["weight"].numpy().ravel() - aim).max() > 1e-2


def test_one_site_is_plain_training(tmp_path):
    """With one site c = c_i, and nothing is corrected."""
    alone = Federation(tmp_path / "one", {"a": TASKS["a"]}, "SCAFFOLD", settings(), learning_rate=1.0)
    plain = Federation(tmp_path / "two", {"a": TASKS["a"]}, "FedAvg", settings())
    for _ in range(3):
        assert torch.allclose(alone.go_on()["weight"], plain.go_on()["weight"], atol=1e-12)


def test_an_attempt_that_failed_changes_no_control(job):
    job.go_on()
    before = job.state("a")["fedloom.control.weight"].clone()
    job.train("a", attempt=1)
    job.train("a", attempt=2)
    again = job.payload("a", CONTROL)
    assert torch.equal(job.state("a")["fedloom.control.weight"], before)
    job.train("a", attempt=3)
    assert torch.equal(job.payload("a", CONTROL)["weight"], again["weight"]), "from the same control"


def test_a_control_that_is_lost_is_an_error_and_not_zero(job):
    job.go_on()
    job.state("a")
    for path in (job.folder / "a" / "state").iterdir():
        path.unlink()
    with pytest.raises(SiteStateError, match="which has to be that of round 1"):
        job.train("a")


def test_a_site_without_samples_changes_nothing(tmp_path):
    empty = Squares(4)
    empty.inputs, empty.targets = empty.inputs[:0], empty.targets[:0]
    job = Federation(tmp_path, {**TASKS, "none": empty}, "SCAFFOLD", settings(), learning_rate=1.0)
    job.go_on("a", "none")
    assert not job.payload("none", CONTROL)["weight"].any()
    assert not job.state("none")["fedloom.control.weight"].any()
    assert load_of(job)["weight"].any()


class OwnLoop(Squares):
    """Does what the default does; with `calls`, or without them."""

    calls = True

    def train(self, model, data, settings, ctx):
        inputs, targets = data.train
        optimizer = torch.optim.SGD(model.parameters(), lr=settings.optimizer.learning_rate)
        for step in range(settings.local_steps):
            optimizer.zero_grad()
            self.loss(model(inputs), targets).backward()
            if self.calls and (step or self.calls is True):
                ctx.correct(optimizer, len(targets))
            optimizer.step()
        return TrainResult(len(targets), steps=settings.local_steps)


def test_a_loop_of_ones_own_does_it_by_one_call(tmp_path, job):
    own = Federation(tmp_path / "own", {n: OwnLoop(i, len(TASKS[n].targets)) for i, n in enumerate(TASKS, 1)}, "SCAFFOLD",
                     settings(local_steps=STEPS), learning_rate=SERVER)  # fmt: skip
    for names in ROUNDS[:4]:
        assert torch.allclose(own.go_on(*names)["weight"], job.go_on(*names)["weight"], atol=1e-12)


@pytest.mark.parametrize(
    ("calls", "words"), [(False, "train\\(\\) has not asked for it"), (1, "4 steps, and called ctx.correct 3 times")]
)
def test_a_loop_that_does_not_call_is_told_how(tmp_path, calls, words):
    task = OwnLoop(1)
    task.calls = calls
    with pytest.raises(TaskInvalidError, match=words) as told:
        Federation(tmp_path, {"a": task}, "SCAFFOLD", settings(), learning_rate=1.0).go_on()
    assert "ctx.correct(optimizer, samples)" in str(told.value)
