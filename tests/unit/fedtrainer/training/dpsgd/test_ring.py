"""Ranks of a ring make one training by DP-SGD: they share a step's records, and one of them adds the noise."""

import numpy as np
import pytest

from fedapi.wire.training import TrainingSettings
from fedtrainer.ring.slot import Slot
from tests.unit.fedtrainer.training.dpsgd.sites import asked
from tests.unit.fedtrainer.training.ring_ranks import Script, alone, site

TORCH = Slot(size=2, collective="TorchDistributed")


def settings(noise, **changes):
    dpsgd = asked(noise_multiplier=noise, **changes)
    return TrainingSettings(batch_size=64, epochs=4, optimizer={"learning_rate": 0.5}, dp_sgd=dpsgd)


@pytest.mark.parametrize("noise", [0.001])
def test_two_ranks_come_to_what_one_comes_to(tmp_path, noise):
    order = settings(noise)
    (one,) = alone(Script(tmp_path / "one", "Cnn", (order,)))
    ranks = site(Script(tmp_path / "two", "Cnn", (order,)), TORCH)
    assert not one.error, one.message
    for (rank,) in ranks:
        assert not rank.error, rank.message
        assert rank.samples == one.samples
        for name, value in one.model.items():
            assert np.abs(rank.model[name] - value).max() < 2e-3, "but for the little noise that there is"


def test_the_noise_is_added_once_whatever_the_ranks(tmp_path):
    spread = []
    for count in (1, 2):
        order = settings(50.0)
        script = Script(tmp_path / str(count), "Cnn", (order,) * 6)
        outcomes = alone(script) if count == 1 else site(script, TORCH)[0]
        assert not any(each.error for each in outcomes), outcomes[0].message
        spread.append(np.concatenate([v.ravel() for each in outcomes for v in each.sent["update"].values()]).std())
    assert spread[0] == pytest.approx(spread[1], rel=0.35)
    assert spread[0] > 0.5, "of 4 steps with 50 / 64 each, times the learning rate"


def test_all_ranks_hear_that_the_site_has_told_enough(tmp_path):
    ranks = site(Script(tmp_path / "spent", "Cnn", (settings(0.5, target_epsilon=0.1),)), TORCH)
    assert [outcome.error for (outcome,) in ranks] == ["BudgetSpentError"] * 2
