"""Shares of a batch and the schedule of a round: pure values."""

import pytest

from fedapi.wire.job import TrainingSettings
from fedtrainer.training.schedule import Schedule, learning_rate
from fedtrainer.training.shares import parts, share


@pytest.mark.parametrize(
    ("count", "size", "least", "lengths"),
    [
        (8, 2, 1, [4, 4]),
        (7, 2, 1, [3, 4]),
        (3, 4, 1, [1, 1, 1, 0]),
        (0, 2, 1, [0, 0]),
        (5, 1, 2, [5]),
        (5, 4, 2, [2, 3, 0, 0]),
        (1, 4, 2, [1, 0, 0, 0]),
        (9, 4, 2, [2, 2, 2, 3]),
    ],
)
def test_shares_are_even_contiguous_and_whole(count, size, least, lengths):
    shares = [share(count, rank, size, least) for rank in range(size)]
    assert [len(s) for s in shares] == lengths
    assert [position for s in shares for position in s] == list(range(count))


@pytest.mark.parametrize(
    ("length", "wanted", "lengths"), [(8, 4, [2, 2, 2, 2]), (7, 3, [2, 2, 3]), (2, 4, [1, 1]), (5, 1, [5]), (0, 3, [])]
)
def test_parts_hold_all_and_none_is_empty(length, wanted, lengths):
    found = parts(range(10, 10 + length), wanted)
    assert [len(part) for part in found] == lengths
    assert [position for part in found for position in part] == list(range(10, 10 + length))


@pytest.mark.parametrize(
    ("settings", "samples", "ranks", "batch", "per_epoch", "steps"),
    [
        ({"batch_size": 32}, 100, 1, 32, 4, 4),
        ({"batch_size": 32, "epochs": 3}, 100, 4, 32, 4, 12),
        ({"batch_size": 32, "epochs": 3, "batch_per": "Rank"}, 100, 4, 128, 1, 3),
        ({"batch_size": 8, "epochs": None, "local_steps": 5}, 20, 2, 8, 3, 5),
    ],
)
def test_steps_of_a_round(settings, samples, ranks, batch, per_epoch, steps):
    schedule = Schedule.of(TrainingSettings(**settings), samples, ranks)
    assert schedule == Schedule(batch, per_epoch, steps)
    assert sum(schedule.steps_of(epoch) for epoch in range(schedule.epochs)) == steps


@pytest.mark.parametrize(
    ("kept", "position"),
    [
        ((0, 0, 8), (0, 0)),
        ((1, 3, 8), (1, 3)),
        ((1, 5, 8), (2, 0)),
        ((2, 2, 8), (2, 2)),
        ((2, 5, 8), (2, 2)),
        ((9, 0, 8), (2, 2)),
        ((0, 4, 4), (0, 2)),
        ((1, 2, 16), (1, 4)),
    ],
)
def test_where_a_training_goes_on(kept, position):
    """5 steps of 8 samples in an epoch, 12 in all; what was kept may come from other settings or another ring."""
    assert Schedule(8, 5, 12).position(*kept) == position


@pytest.mark.parametrize(
    ("settings", "ranks", "rates"),
    [
        ({}, 4, [0.1, 0.1]),
        ({"warmup_steps": 4}, 1, [0.025, 0.05, 0.075, 0.1, 0.1]),
        ({"batch_per": "Rank", "learning_rate_scaling": "Linear"}, 4, [0.4]),
        ({"batch_per": "Rank", "learning_rate_scaling": "SquareRoot"}, 4, [0.2]),
        ({"batch_per": "Rank"}, 4, [0.1]),
        ({"batch_per": "Rank", "learning_rate_scaling": "Linear", "warmup_steps": 2}, 2, [0.1, 0.2, 0.2]),
    ],
)
def test_the_learning_rate(settings, ranks, rates):
    training = TrainingSettings(optimizer={"learning_rate": 0.1}, **settings)
    assert [learning_rate(training, ranks, step) for step in range(len(rates))] == pytest.approx(rates)
