"""FedProx: each site's steps are those of its loss and mu / 2 * |w - base|^2."""

import numpy as np
import pytest
import torch

from fedtrainer import Data, Task
from tests.unit.fedtrainer.training.methods.federation import Federation, settings
from tests.unit.fedtrainer.training.methods.quadratics import WIDTH, Squares

TASKS = {"a": Squares(1), "b": Squares(2, samples=9)}
STEPS, RATE, MU = 4, 0.1, 0.7


def held(task, x):
    y = x.copy()
    for _ in range(STEPS):
        y = y - RATE * (task.gradient(y) + MU * (y - x))
    return y - x


def test_it_is_the_papers_local_problem(tmp_path):
    job = Federation(tmp_path, TASKS, "FedProx", settings(local_steps=STEPS), mu=MU)
    x, samples = np.ones(WIDTH), {name: len(task.targets) for name, task in TASKS.items()}
    for _ in range(3):
        model = job.go_on()
        x = x + sum(samples[n] * held(TASKS[n], x) for n in TASKS) / sum(samples.values())
        assert np.allclose(model["weight"].numpy().ravel(), x, rtol=0, atol=1e-12)


def test_without_mu_it_is_fedavg_to_the_bit(tmp_path):
    one = Federation(tmp_path / "prox", TASKS, "FedProx", settings(), mu=0.0)
    other = Federation(tmp_path / "avg", TASKS, "FedAvg", settings())
    assert torch.equal(one.go_on()["weight"], other.go_on()["weight"])


class Tables(torch.nn.Module):
    """Two embeddings: a batch reaches a few rows of the first, with a sparse gradient, and nothing of the second."""

    def __init__(self):
        super().__init__()
        self.used, self.left = torch.nn.Embedding(4, 2, sparse=True), torch.nn.Embedding(2, 2)

    def forward(self, inputs):
        return self.used(inputs)


class Rows(Task):
    def model(self):
        return Tables()

    def data(self, site):
        return Data((torch.arange(4), torch.zeros(4)))

    def loss(self, outputs, targets):
        return outputs.square().mean()


@pytest.mark.parametrize("mu", [0.0, 0.5])
def test_sparse_gradients_and_none(tmp_path, mu):
    job = Federation(tmp_path, {"a": Rows()}, "FedProx", settings(batch_size=2), mu=mu)
    before = job.go_on()
    assert torch.isfinite(before["used.weight"]).all()
    assert not job.payload("a")["left.weight"].any(), "what no batch reaches stays"
