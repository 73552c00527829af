"""Models that DP-SGD cannot train are refused by the layer's name, with the way out, before anything is trained."""

import pytest
import torch

from fedtrainer import Task
from fedtrainer.errors import TaskInvalidError
from tests.unit.fedtrainer.training.dpsgd.sites import asked, trained
from tests.unit.fedtrainer.training.sessions import Given, One

RECORDS = torch.randn(6, 4), torch.tensor([0, 1] * 3)


class Recurrent(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.cells = torch.nn.LSTM(1, 3, batch_first=True)
        self.head = torch.nn.Linear(3, 2)

    def forward(self, inputs):
        return self.head(self.cells(inputs[..., None])[0][:, -1])


class Counter(torch.nn.Module):
    """Keeps a running mean of its inputs."""

    def __init__(self, *, persistent):
        super().__init__()
        self.layer = torch.nn.Linear(4, 2)
        self.register_buffer("mean", torch.zeros(4), persistent=persistent)

    def forward(self, inputs):
        with torch.no_grad():
            self.mean.lerp_(inputs.mean(0), 0.5)
        return self.layer(inputs)


def stacked(layer):
    return torch.nn.Sequential(torch.nn.Linear(4, 4), layer, torch.nn.Linear(4, 2))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (
            stacked(torch.nn.BatchNorm1d(4)),
            "the layer '1' (BatchNorm1d): it makes a record's gradient depend on the others",
        ),
        (stacked(torch.nn.BatchNorm1d(4, affine=False)), "use GroupNorm or LayerNorm"),
        (stacked(torch.nn.SyncBatchNorm(4)), "the layer '1' (SyncBatchNorm)"),
        (Recurrent(), "the layer 'cells' (LSTM): use opacus.layers.DPLSTM"),
        (
            stacked(torch.nn.MultiheadAttention(4, 2)),
            "the layer '1' (MultiheadAttention): use opacus.layers.DPMultihead",
        ),
        (stacked(torch.nn.InstanceNorm1d(4, affine=True, track_running_stats=True)), "the layer '1' (InstanceNorm1d)"),
        (stacked(torch.nn.Identity()).bfloat16(), "parameter '0.weight' is torch.bfloat16"),
    ],
)
def test_refused(model, words):
    with pytest.raises(TaskInvalidError) as refusal:
        trained(Task(), model, RECORDS, asked())
    assert words in str(refusal.value)


@pytest.mark.parametrize(
    "layer", [torch.nn.LayerNorm(4), torch.nn.GroupNorm(2, 4), torch.nn.Dropout(0.5), torch.nn.Sequential()]
)
def test_taken(layer):
    assert trained(Task(), stacked(layer), RECORDS, asked()).steps == 1


def test_a_norm_that_uses_no_batch_is_taken():
    class Still(Task):
        def train(self, model, data, settings, ctx):
            return super().train(model, data, settings, ctx)

    model = stacked(torch.nn.BatchNorm1d(4, affine=False))
    model[1].train = lambda *_: model[1]  # as a task does that keeps a pretrained layer's statistics
    model[1].training = False
    assert trained(Still(), model, RECORDS, asked()).steps == 1


def test_a_buffer_that_the_training_changes_would_be_sent_without_noise(tmp_path):
    one = One(tmp_path, Given(lambda: Counter(persistent=True), RECORDS))
    with pytest.raises(TaskInvalidError, match=r"changed the buffer 'mean', which no noise hides"):
        one.train(dp_sgd=asked().model_dump())


def test_a_buffer_that_is_not_sent_may_change(tmp_path):
    one = One(tmp_path, Given(lambda: Counter(persistent=False), RECORDS))
    assert one.train(dp_sgd=asked().model_dump()).privacy.unit == "Record"
