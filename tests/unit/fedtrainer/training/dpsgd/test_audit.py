"""The empirical audit: what can be told of 30 records from the models that real trainings release, against what the site reports.

Canaries are the strongest there are (Dirac canaries): the gradient of each is as long as clipping lets it be, and all its own. Only
the default training is called; the noise comes from a seeded generator, so that the test says the same each time.
"""

import math

import numpy as np
import pytest
import torch

from fedapi.wire.training import TrainingSettings
from fedtrainer import Data, Task
from fedtrainer.training.dpsgd import accountant, randomness
from tests.unit.fedtrainer.training.dpsgd.auditing import guessed, leaked_epsilon
from tests.unit.fedtrainer.training.dpsgd.sites import Seeded, asked, context, flat, trained

N, BATCH, STEPS, DELTA = 30, 10, 8, 1e-5  # a small site: each record is in a third of the steps
RUNS = 60  # independent trainings, each with coins of its own: canaries of all together
CONFIDENCE = 0.95


class Canaries(Task):
    """A linear model whose gradient for record i points along weight i, however far training has come."""

    def loss(self, outputs, targets):
        return outputs.mean() * 1e3


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def seeded(monkeypatch):
    monkeypatch.setattr(randomness.os, "urandom", Seeded(23).urandom)


def audited(dpsgd, runs=RUNS):
    """The epsilon that is at least leaked, and that which is reported, of trainings whose canaries are there by a coin."""
    coins = np.random.Generator(np.random.PCG64(5)).random((runs, N)) < 0.5
    scores = []
    for there in coins:
        model = torch.nn.Linear(N, 1, bias=False)
        before = flat(model).clone()
        inputs = torch.eye(N) * torch.from_numpy(there.astype(np.float32))[:, None]  # who is not there has no gradient
        ctx = context(None, dpsgd)
        told = TrainingSettings(epochs=None, local_steps=STEPS, batch_size=BATCH)
        Canaries().train(model, Data((inputs, torch.zeros(N, 1))), told, ctx)
        scores.append((before - flat(model)).numpy())
    reported = accountant.epsilon([ctx.private.release], DELTA)
    flat_scores, flat_coins = np.concatenate(scores), coins.ravel()
    leaked = max(
        leaked_epsilon(flat_coins.size, *guessed(flat_scores, flat_coins, s), DELTA, CONFIDENCE) for s in (0.05, 0.2)
    )
    return leaked, reported


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize("noise", [0.8, 4.0])
def test_what_is_leaked_is_at_most_what_is_reported(noise):
    leaked, reported = audited(asked(noise_multiplier=noise, delta=DELTA))
    assert leaked <= reported
    assert leaked > reported / 8, "it is no blind audit"


@pytest.mark.usefixtures("seeded")
def test_without_noise_the_same_audit_finds_the_leak(monkeypatch):
    monkeypatch.setattr(randomness, "normals", lambda shape: torch.zeros(shape, dtype=torch.float64))
    leaked, reported = audited(asked(noise_multiplier=4.0, delta=DELTA), runs=30)
    assert leaked > reported


@pytest.mark.usefixtures("seeded")
def test_without_clipping_the_same_audit_finds_the_leak(monkeypatch):
    monkeypatch.setattr("opacus.optimizers.DPOptimizer.clip_and_accumulate", unclipped)
    leaked, reported = audited(asked(noise_multiplier=4.0, delta=DELTA), runs=30)
    assert leaked > reported


def unclipped(self):
    for parameter in self.params:
        total = parameter.grad_sample.sum(0)
        parameter.summed_grad = total if parameter.summed_grad is None else parameter.summed_grad + total


def test_guesses_by_chance_leak_nothing_and_right_ones_what_they_must():
    assert leaked_epsilon(1_000, 100, 50, 1e-5) == pytest.approx(0.0, abs=2e-3)
    exact = -math.log(0.05 ** (-1 / 100) - 1)  # all right: (e^epsilon / (1 + e^epsilon))^100 is 0.05
    assert leaked_epsilon(100, 100, 100, 0.0) == pytest.approx(exact, abs=2e-3)


class Memory:
    """Records with labels that nothing explains: what a model knows of them it has learnt by heart."""

    def __init__(self, seed):
        generator = torch.Generator().manual_seed(seed)
        self.inputs = torch.randn(2 * N, 20, generator=generator)
        self.labels = torch.randint(0, 2, (2 * N,), generator=generator)

    def attacked(self, dpsgd):
        """The share of members and others that the best threshold of the loss tells apart (Yeom et al. 2018)."""
        torch.manual_seed(1)
        model = torch.nn.Sequential(torch.nn.Linear(20, 32), torch.nn.ReLU(), torch.nn.Linear(32, 2))
        members = (self.inputs[:N], self.labels[:N])
        trained(Task(), model, members, dpsgd, epochs=40, batch_size=BATCH, rate=0.5)
        with torch.no_grad():
            losses = torch.nn.functional.cross_entropy(model(self.inputs), self.labels, reduction="none")
        inside, outside = losses[:N], losses[N:]
        return float((inside[:, None] < outside[None]).double().mean())  # the area under the attack's curve


@pytest.mark.usefixtures("seeded")
def test_the_less_epsilon_the_less_a_membership_attack_is_right():
    areas = []
    for noise in (1e-6, 2.0, 20.0):
        found = [Memory(seed).attacked(asked(noise_multiplier=noise, delta=DELTA)) for seed in range(4)]
        areas.append(sum(found) / len(found))
    blatant, some, hidden = areas
    assert blatant > 0.8, "the attack works where nothing hides the records"
    assert blatant > some > hidden
    assert hidden < 0.6, "no better than a coin"
