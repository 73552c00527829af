"""Shares of a batch and the schedule of a round: pure values."""

import pytest

from fedapi.wire.training import TrainingSettings
from fedtrainer.errors import BadSettingsError
from fedtrainer.training.loop import own_batches
from fedtrainer.training.schedule import Schedule, learning_rate, usable
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
    ("settings", "samples", "multiple", "taken"),
    [
        ({"batch_size": 7}, 26, 1, 26),
        ({"batch_size": 16}, 26, 8, 24),
        ({"batch_size": 16}, 8, 8, 8),
        ({"batch_size": 16, "gradient_accumulation_steps": 2}, 26, 8, 16),
        ({"batch_size": 4, "batch_per": "Rank"}, 26, 8, 24),
        ({"batch_size": 12}, 26, 8, "a batch of 12 samples, but .* multiples of 8"),
        ({"batch_size": 16, "gradient_accumulation_steps": 3}, 26, 8, "multiples of 24"),
        ({"batch_size": 16}, 7, 8, "7 training samples, fewer than the 8"),
    ],
)
def test_hosts_that_compute_one_batch_share_it_evenly(settings, samples, multiple, taken):
    """Two hosts of four chips; elsewhere nothing has to divide."""
    training = TrainingSettings(**settings)
    if isinstance(taken, str):
        with pytest.raises(BadSettingsError, match=taken):
            usable(training, samples, 2, multiple)
        return
    assert usable(training, samples, 2, multiple) == taken
    schedule = Schedule.of(training, taken, 2)
    for start in range(0, taken, schedule.batch) if multiple > 1 else ():
        count = min(schedule.batch, taken - start)
        pieces = [parts(share(count, rank, 2, 2), training.gradient_accumulation_steps) for rank in range(2)]
        assert [len(piece) for piece in pieces[0]] == [len(piece) for piece in pieces[1]]
        assert all(len(piece) % 4 == 0 for piece in pieces[0])


@pytest.mark.parametrize(
    ("samples", "batch", "multiple", "lengths"),
    [
        (26, 8, 1, [[8, 8], [8, 2]]),
        (24, 16, 8, [[8, 4], [8, 4]]),
        (24, 20, 8, [[8, 4], [8, 4]]),
        (16, 4, 8, [[4, 4], [4, 4]]),
        (0, 4, 8, [[], []]),
    ],
)
def test_who_evaluates_what(samples, batch, multiple, lengths):
    found = [list(own_batches(samples, batch, rank, 2, multiple)) for rank in range(2)]
    assert [[len(own) for own in batches] for batches in found] == lengths
    assert sorted(position for batches in found for own in batches for position in own) == list(range(samples))


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
