"""Evaluation leaves no trace in the model, and means are over the samples that a metric was reported for."""

import random

import numpy as np
import pytest
import torch

from fedtrainer import EvalResult, Task
from tests.unit.fedtrainer.training.sessions import Given, One

INPUTS, LABELS = torch.randn(10, 3, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1] * 5)


class Caching(torch.nn.Linear):
    """Keeps a table that it makes in its first forward, counts in a buffer, and remembers in containers."""

    def __init__(self):
        super().__init__(3, 2)
        self.table, self.seen = None, []
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("hidden", torch.zeros(2), persistent=False)

    def forward(self, inputs):
        if self.table is None:
            self.table = torch.full((3,), 2.0)
            self.seen.append(self.table)
            if not self.training:
                self.late = torch.nn.Parameter(torch.zeros(1))
        self.calls += 1
        self.hidden += 1
        return super().forward(inputs * self.table)


class InferenceMode(Given):
    def evaluate(self, model, data, settings, ctx):
        model.eval()
        model.requires_grad_(False)
        model.register_forward_hook(lambda *_: None)
        with torch.inference_mode():
            model(data.test[0])
        torch.rand(1), np.random.rand(), random.random()  # noqa: NPY002 - a task may
        return EvalResult(10, {"a": 1.0})


def numbers_to_come():
    """The states of all generators."""
    return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002


@pytest.mark.parametrize("kind", [Given, InferenceMode])
def test_a_training_after_an_evaluation_is_as_without(tmp_path, kind):
    updates = []
    for n, evaluates in enumerate((True, False)):
        one = One(tmp_path / str(n), kind(Caching, (INPUTS, LABELS), (INPUTS, LABELS)))
        before = {name: value.clone() for name, value in one.model.state_dict().items()}
        one.session.data(1)  # which every order begins with, and which seeds the generators
        numbers = numbers_to_come()
        if evaluates:
            one.evaluate()
            assert one.model.table is None
            assert not one.model.seen
            assert not hasattr(one.model, "late")
            assert one.model.training
            assert all(p.requires_grad and p.grad is None for p in one.model.parameters())
            assert not one.model._forward_hooks
            assert one.model.hidden.tolist() == [0, 0]
            assert all(torch.equal(value, before[name]) for name, value in one.model.state_dict().items())
            assert numbers_to_come() == numbers
        one.train(epochs=2, batch_size=4)
        updates.append(one.update())
    assert all(torch.equal(updates[0][name], updates[1][name]) for name in updates[1])


class Sometimes(Given):
    """Tells `rare` for one batch of four, `other` for the other three."""

    calls = 0

    def metrics(self, outputs, targets):
        self.calls += 1
        return {"rare": 1.0} if self.calls % 4 == 1 else {"other": float(len(targets))}


def test_a_metric_is_the_mean_over_the_samples_that_it_was_reported_for(tmp_path):
    one = One(tmp_path, Sometimes(lambda: torch.nn.Linear(3, 2), (INPUTS, LABELS), (INPUTS, LABELS)))
    result = one.evaluate(batch_size=3)
    assert result.samples == 10
    assert result.metrics["rare"] == 1.0
    assert result.metrics["other"] == pytest.approx((3 * 3 + 3 * 3 + 1) / 7)
    assert set(result.metrics) == {"rare", "other", "loss"}
    assert isinstance(one.session._task, Task)
