"""DiLoCo against torch: AdamW objects that live on at the sites, and one SGD with Nesterov momentum outside."""

import pytest
import torch

from fedtrainer import TrainResult
from fedtrainer.errors import TaskInvalidError
from tests.unit.fedtrainer.training.methods.federation import Federation, settings
from tests.unit.fedtrainer.training.methods.quadratics import Squares

TASKS = {"a": Squares(1), "b": Squares(2, samples=9)}
INNER = settings(local_steps=5, optimizer={"name": "AdamW", "learning_rate": 0.05, "weight_decay": 0.1})


def reference(rounds):
    """The model after each round; moments are in the AdamW of each site, and in the outer SGD."""
    outer = TASKS["a"].model()
    inner = {name: task.model() for name, task in TASKS.items()}
    optimizers = {n: torch.optim.AdamW(m.parameters(), lr=0.05, weight_decay=0.1) for n, m in inner.items()}
    step = torch.optim.SGD(outer.parameters(), lr=0.7, momentum=0.9, nesterov=True)
    found = []
    for names in rounds:
        total = sum(len(TASKS[name].targets) for name in names)
        outer.weight.grad = torch.zeros_like(outer.weight)
        for name in names:
            model, task = inner[name], TASKS[name]
            model.load_state_dict(outer.state_dict())
            inputs, targets = task.data(None).train
            for _ in range(5):
                optimizers[name].zero_grad()
                task.loss(model(inputs), targets).backward()
                optimizers[name].step()
            share = len(task.targets) / total
            outer.weight.grad += share * (outer.weight - model.weight).detach()
        step.step()
        found.append(outer.weight.detach().clone())
    return found


ROUNDS = [("a", "b"), ("a",), ("a", "b"), ("b",)]


def test_it_is_the_papers_two_optimizers(tmp_path):
    job = Federation(tmp_path, TASKS, "DiLoCo", INNER, momentum=0.9, learning_rate=0.7)
    for names, expected in zip(ROUNDS, reference(ROUNDS), strict=True):
        assert torch.allclose(job.go_on(*names)["weight"], expected, rtol=0, atol=1e-12)
    assert sorted(job.state("a")) == [f"fedloom.optimizer.{key}.weight" for key in ("exp_avg", "exp_avg_sq", "step")]
    assert job.state("a")["fedloom.optimizer.step.weight"] == 15


def test_moments_of_an_attempt_that_failed_are_forgotten(tmp_path):
    job = Federation(tmp_path, TASKS, "DiLoCo", INNER, momentum=0.9, learning_rate=0.7)
    expected = reference(ROUNDS[:2])
    job.go_on("a", "b")
    job.train("a", attempt=1)
    job.train("a", attempt=2)
    assert torch.allclose(job.go_on("a")["weight"], expected[1], rtol=0, atol=1e-12)


def test_without_an_outer_step_it_is_one_long_training(tmp_path):
    """Momentum 0 and rate 1 at one site: the model goes on where it was, and so does AdamW."""
    job = Federation(tmp_path, {"a": TASKS["a"]}, "DiLoCo", INNER, momentum=0.0, learning_rate=1.0)
    for _ in range(3):
        model = job.go_on()
    long = Federation(tmp_path / "long", {"a": TASKS["a"]}, "FedAvg", INNER.model_copy(update={"local_steps": 15}))
    assert torch.allclose(model["weight"], long.go_on()["weight"], rtol=0, atol=1e-12)


class Two(Squares):
    def train(self, model, data, settings, ctx):
        for _ in range(2):
            optimizer = torch.optim.AdamW(model.parameters())
            self.loss(model(data.train[0]), data.train[1]).backward()
            ctx.correct(optimizer, len(self.targets))
            optimizer.step()
        return TrainResult(len(self.targets))


class Odd(Squares):
    """An optimizer that keeps what no file of tensors can hold."""

    def train(self, model, data, settings, ctx):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        ctx.correct(optimizer, len(self.targets))
        for parameter in model.parameters():
            optimizer.state[parameter] = {"count": 3, "history": ["x"]}
        return TrainResult(len(self.targets))


@pytest.mark.parametrize(("task", "words"), [(Two(1), "with two optimizers"), (Odd(1), "keeps 'history', a list")])
def test_what_cannot_be_kept_is_told(tmp_path, task, words):
    with pytest.raises(TaskInvalidError, match=words):
        Federation(tmp_path, {"a": task}, "DiLoCo", INNER, momentum=0.9, learning_rate=0.7).go_on()


class Counts(Squares):
    """An optimizer that counts in a number of Python's."""

    seen: tuple[int, ...] = ()

    def train(self, model, data, settings, ctx):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        ctx.correct(optimizer, len(self.targets))
        for parameter in model.parameters():
            state = optimizer.state[parameter]
            self.seen = (*self.seen, state.get("count", 0))
            state["count"] = state.get("count", 0) + 1
        return TrainResult(len(self.targets))


def test_numbers_are_kept_too(tmp_path):
    job = Federation(tmp_path, {"a": (task := Counts(1))}, "DiLoCo", INNER, momentum=0.9, learning_rate=0.7)
    for _ in range(3):
        job.go_on()
    assert task.seen == (0, 1, 2)
