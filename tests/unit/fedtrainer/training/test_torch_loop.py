"""The default training in one process: how many steps, in which order, what it reports, going on from a checkpoint."""

import math
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, Subset, TensorDataset

from fedapi.wire.training import TrainingSettings
from fedtrainer import Context, Data, Site, Task
from fedtrainer.errors import DivergedError, DroppedError, TaskInvalidError
from fedtrainer.ring.single import SingleRing
from fedtrainer.training.batches import shuffled, take
from fedtrainer.training.methods.method import NOTHING
from fedtrainer.training.progress import Checkpoints
from fedtrainer.training.site_state import SiteState
from fedtrainer.training.steps import optimizer_of

INPUTS = torch.arange(20.0).reshape(10, 2) / 20
TARGETS = torch.tensor([0, 1] * 5)


class Counting(Task):
    """Counts its steps; fails at one of them."""

    def __init__(self, fail_at=None):
        self.steps, self.fail_at = 0, fail_at

    def loss(self, outputs, targets):
        self.steps += 1
        if self.steps == self.fail_at:
            raise KeyboardInterrupt
        return super().loss(outputs, targets)


def context(path: Path, stopped=lambda: False) -> Context:
    ring = SingleRing("cpu")
    progress = Checkpoints(path / "checkpoint.safetensors", 0.0, ring)
    return Context(Site("a", path, {}, 1, 1), 5, progress, stopped, ring, SiteState({}), NOTHING)


def model() -> torch.nn.Module:
    torch.manual_seed(3)
    return torch.nn.Sequential(
        torch.nn.Linear(2, 4), torch.nn.BatchNorm1d(4), torch.nn.Dropout(0.5), torch.nn.Linear(4, 2)
    )


def test_a_ring_that_needs_even_shares_leaves_the_rest_of_an_epoch_out(tmp_path):
    seen = []

    class Sizes(Task):
        def loss(self, outputs, targets):
            seen.append(len(targets))
            return super().loss(outputs, targets)

    ctx = context(tmp_path)
    ctx.ring.multiple = 4
    data, settings = Data((INPUTS, TARGETS), (INPUTS, TARGETS)), TrainingSettings(epochs=2, batch_size=8)
    assert Sizes().train(model(), data, settings, ctx).samples == 10, "the update weighs what the site has"
    assert seen == [8, 8], "8 of 10 samples, others in each epoch"
    assert Sizes().evaluate(model(), data, settings, ctx).samples == 8


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({"epochs": 1, "batch_size": 4}, 3),
        ({"epochs": 3, "batch_size": 5}, 6),
        ({"epochs": None, "batch_size": 5, "local_steps": 1}, 1),
        ({"epochs": None, "batch_size": 4, "local_steps": 7}, 7),
        ({"batch_size": 64}, 1),
    ],
)
@pytest.mark.parametrize("data", [(INPUTS, TARGETS), TensorDataset(INPUTS, TARGETS)], ids=["tensors", "dataset"])
def test_steps(tmp_path, settings, steps, data):
    task = Counting()
    result = task.train(model(), Data(data), TrainingSettings(**settings), context(tmp_path))
    assert task.steps == steps
    assert result.samples == 10
    assert result.metrics["train_loss"] > 0


@pytest.mark.parametrize("optimizer", [{"name": "SGD", "momentum": 0.9}, {"name": "Adam"}, {"name": "AdamW"}])
@pytest.mark.parametrize("fail_at", [4, 7, 12])
def test_a_broken_training_goes_on_with_the_same_bits(tmp_path, optimizer, fail_at):
    settings = TrainingSettings(epochs=4, batch_size=4, optimizer=optimizer)
    data = Data((INPUTS, TARGETS))
    whole, broken, resumed = model(), model(), model()
    (tmp_path / "whole").mkdir()
    Counting().train(whole, data, settings, context(tmp_path / "whole"))
    with pytest.raises(KeyboardInterrupt):
        Counting(fail_at).train(broken, data, settings, context(tmp_path))
    second = Counting()
    second.train(resumed, data, settings, context(tmp_path))
    assert second.steps == 12 - (fail_at - 1), "it goes on at the very step"
    assert all(
        torch.equal(a, b) for a, b in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True)
    )


def test_a_damaged_checkpoint_is_left_out(tmp_path):
    settings = TrainingSettings(epochs=2, batch_size=4)
    (tmp_path / "checkpoint.safetensors").write_bytes(b"\0" * 100)
    task = Counting()
    task.train(model(), Data((INPUTS, TARGETS)), settings, context(tmp_path))
    assert task.steps == 6


def test_evaluation_is_the_mean_over_samples(tmp_path):
    linear = torch.nn.Linear(2, 2)
    with torch.no_grad():
        linear.weight.zero_()
        linear.bias.copy_(torch.tensor([1.0, 0.0]))
    result = Task().evaluate(linear, Data(None, (INPUTS, TARGETS)), TrainingSettings(batch_size=3), context(tmp_path))
    assert list(result.metrics) == ["accuracy", "loss"]
    assert result.metrics["accuracy"] == 0.5
    assert math.isclose(result.metrics["loss"], math.log(1 + math.e) - 0.5, rel_tol=1e-6)


def test_real_targets_have_the_mean_squared_error(tmp_path):
    zero = torch.nn.Linear(2, 1)
    torch.nn.init.zeros_(zero.weight)
    torch.nn.init.zeros_(zero.bias)
    data = Data(None, (INPUTS, torch.full((10,), 2.0)))
    assert dict(Task().evaluate(zero, data, TrainingSettings(), context(tmp_path)).metrics) == {"loss": 4.0}


def test_no_samples_change_nothing(tmp_path):
    before, after = model(), model()
    assert Task().train(after, Data((INPUTS[:0], TARGETS[:0])), TrainingSettings(), context(tmp_path)).samples == 0
    assert all(
        torch.equal(a, b) for a, b in zip(before.state_dict().values(), after.state_dict().values(), strict=True)
    )


def test_a_stop_is_seen_at_the_next_step(tmp_path):
    with pytest.raises(DroppedError):
        Task().train(model(), Data((INPUTS, TARGETS)), TrainingSettings(), context(tmp_path, lambda: True))


def test_divergence(tmp_path):
    settings = TrainingSettings(epochs=60, batch_size=2, optimizer={"learning_rate": 1e30})
    with pytest.raises(DivergedError, match="learningRate"):
        Task().train(torch.nn.Linear(2, 2), Data((INPUTS * 1e10, TARGETS)), settings, context(tmp_path))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ((INPUTS, TARGETS[:3]), "10 inputs but 3 targets"),
        ("rows.csv.gz", "pairs"),
        (7, "is a int"),
        (iter(()), "torch Dataset with a length"),
    ],
)
def test_wrong_data(tmp_path, data, words):
    with pytest.raises(TaskInvalidError, match=words):
        Task().train(model(), Data(data), TrainingSettings(), context(tmp_path))


def test_order_comes_from_the_generator_alone():
    for data in ((INPUTS, TARGETS), TensorDataset(INPUTS, TARGETS)):
        torch.manual_seed(1)
        first = shuffled(data, torch.Generator().manual_seed(9))
        torch.manual_seed(2)
        assert torch.equal(first, shuffled(data, torch.Generator().manual_seed(9)))
        assert sorted(first.tolist()) == list(range(10)) != first.tolist()


def test_a_dataset_is_read_as_torch_reads_it():
    dataset = Subset(TensorDataset(INPUTS, TARGETS), [7, 1, 3, 9, 0])
    loader = DataLoader(dataset, batch_size=2, shuffle=True, generator=torch.Generator().manual_seed(9))
    order = shuffled(dataset, torch.Generator().manual_seed(9))
    for theirs, index in zip(loader, order.split(2), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(theirs, take(dataset, index), strict=True))


def test_the_optimizer_is_the_jobs():
    optimizer = optimizer_of(
        TrainingSettings(optimizer={"learning_rate": 0.5, "momentum": 0.9, "weight_decay": 0.1}).optimizer, model()
    )
    group = optimizer.param_groups[0]
    assert (type(optimizer).__name__, group["lr"], group["momentum"], group["weight_decay"]) == ("SGD", 0.5, 0.9, 0.1)
