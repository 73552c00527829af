"""The noise is normal and the draw is Poisson, by whoever tests it, and neither follows a seed of the job."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from fedtrainer.training import seeding
from fedtrainer.training.dpsgd import randomness
from tests.unit.fedtrainer.training.dpsgd.sites import Seeded


@pytest.fixture
def seeded(monkeypatch):
    monkeypatch.setattr(randomness.os, "urandom", Seeded(11).urandom)


@pytest.mark.usefixtures("seeded")
def test_the_noise_is_standard_normal():
    found = randomness.normals(torch.Size((200_001,))).numpy()
    assert stats.kstest(found, "norm").pvalue > 0.01
    assert abs(found.mean()) < 4 / math.sqrt(found.size)
    assert abs(found.std() - 1) < 4 / math.sqrt(2 * found.size)
    halves = found[:100_000], found[100_000:200_000]
    assert abs(np.corrcoef(*halves)[0, 1]) < 4 / math.sqrt(100_000), "the two numbers of a pair"


def test_the_noise_has_the_shape_that_is_asked_for():
    for shape in ((), (0,), (1,), (3, 5), (2, 2, 2)):
        found = randomness.normals(torch.Size(shape))
        assert (tuple(found.shape), found.dtype) == (shape, torch.float64)


@pytest.mark.usefixtures("seeded")
def test_each_record_is_drawn_by_itself():
    draws = np.zeros((4_000, 30))
    for row in draws:
        row[randomness.drawn(30, 0.25).numpy()] = 1
    for mean in draws.mean(axis=0):
        assert abs(mean - 0.25) < 4 * math.sqrt(0.25 * 0.75 / len(draws))
    sizes = np.bincount(draws.sum(axis=1).astype(int), minlength=31)
    expected = stats.binom.pmf(np.arange(31), 30, 0.25) * len(draws)
    common = expected > 5
    assert stats.chisquare(sizes[common], expected[common] * sizes[common].sum() / expected[common].sum()).pvalue > 0.01
    assert sizes[0] + sizes[1] > 0, "batches may be as good as empty"


def test_every_record_is_drawn_at_rate_1():
    assert randomness.drawn(7, 1.0).tolist() == list(range(7))


def test_neither_follows_a_seed():
    def both():
        seeding.seed_everything(7)
        return randomness.normals(torch.Size((8,))).tolist(), randomness.drawn(64, 0.5).tolist()

    first, second = both(), both()
    assert first[0] != second[0]
    assert first[1] != second[1]
