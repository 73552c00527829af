"""Models as people have them: masks, views, shared tensors, batch statistics, operations without a deterministic kernel."""

import warnings

import pytest
import torch

from fedtrainer.errors import TaskInvalidError
from fedtrainer.training import schedule, shares
from tests.unit.fedtrainer.training.sessions import Given, One

INPUTS, LABELS = torch.randn(9, 3, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1, 1] * 3)


def norm():
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2))


@pytest.mark.parametrize(
    ("samples", "settings", "steps"),
    [
        (9, {"batch_size": 4}, 2),  # one sample is left over
        (9, {"batch_size": 8}, 1),
        (8, {"batch_size": 4}, 2),
        (6, {"batch_size": 4}, 2),  # two are not
        (9, {"batch_size": 4, "epochs": None, "local_steps": 5}, 5),
        (8, {"batch_size": 4, "gradient_accumulation_steps": 4}, 2),  # in two parts of two
        (9, {"batch_size": 3, "gradient_accumulation_steps": 2}, 3),  # in one part of three
    ],
)
def test_batch_normalization_gets_no_single_sample(tmp_path, samples, settings, steps):
    one = One(tmp_path, Given(norm, (INPUTS[:samples], LABELS[:samples])))
    assert one.train(**settings).samples == samples
    parts = 2 if settings.get("gradient_accumulation_steps") == 4 else 1
    assert int(one.update()["1.num_batches_tracked"]) == steps * parts


@pytest.mark.parametrize(("samples", "settings"), [(1, {}), (4, {"batch_size": 1})])
def test_batches_of_one_cannot_be_normalized(tmp_path, samples, settings):
    one = One(tmp_path, Given(norm, (INPUTS[:samples], LABELS[:samples])))
    with pytest.raises(TaskInvalidError, match=r"two samples in every part of a batch; raise training\.batchSize"):
        one.train(**settings)


def test_pictures_are_normalized_one_by_one(tmp_path):
    def model():
        return torch.nn.Sequential(
            torch.nn.Conv2d(1, 2, 2), torch.nn.BatchNorm2d(2), torch.nn.Flatten(), torch.nn.LazyLinear(2)
        )

    def ready():
        made = model()
        made.eval()(torch.zeros(1, 1, 3, 3))
        return made.train()

    one = One(tmp_path, Given(ready, (torch.randn(3, 1, 3, 3), LABELS[:3])))
    assert one.train(batch_size=1).samples == 3


def test_models_without_batch_statistics_keep_their_last_sample(tmp_path):
    seen = []

    class Counting(Given):
        def loss(self, outputs, targets):
            seen.append(len(targets))
            return super().loss(outputs, targets)

    One(tmp_path, Counting(lambda: torch.nn.Linear(3, 2), (INPUTS, LABELS))).train(batch_size=4)
    assert seen == [4, 4, 1]


def test_shares_and_parts_of_two():
    assert [list(shares.share(5, rank, 4, 2)) for rank in range(4)] == [[0, 1], [2, 3, 4], [], []]
    assert shares.parts(range(5), 4, 2) == [range(2), range(2, 5)]
    assert shares.parts(range(3), 2, 2) == [range(3)]
    assert shares.parts(range(3, 3), 2, 2) == []
    assert schedule.usable(schedule.TrainingSettings(batch_size=4, batch_per="Rank"), 17, 2, 1, 2) == 16


class Real(torch.nn.Module):
    """A mask of -inf, a strided and a shared parameter, an expanded buffer, a buffer that two modules share."""

    def __init__(self):
        super().__init__()
        self.strided = torch.nn.Parameter(torch.randn(3, 2)[:, 0])
        self.first = torch.nn.Linear(3, 3)
        self.second = torch.nn.Linear(3, 3)
        self.second.weight = self.first.weight
        self.register_buffer("mask", torch.full((3, 3), float("-inf")).triu(1))
        self.register_buffer("undefined", torch.tensor([float("nan"), 1.0], dtype=torch.bfloat16))
        self.register_buffer("positions", torch.arange(3.0).expand(2, 3))
        self.register_buffer("again", self.positions)
        self.register_buffer("unsigned", torch.tensor([1, 40000], dtype=torch.int32).to(torch.uint16))
        self.last = torch.nn.Linear(3, 2).double()

    def forward(self, inputs):
        attention = torch.softmax(self.mask + self.first.weight, dim=1)
        hidden = self.second(self.first(inputs * self.strided) @ attention) + self.positions[0]
        return self.last(hidden.double())


def test_a_model_of_odd_tensors_is_trained(tmp_path):
    one = One(tmp_path, Given(Real, (INPUTS, LABELS), (INPUTS, LABELS)))
    assert torch.equal(one.base["mask"], Real().mask)
    for _ in range(2):
        one.evaluate()
        one.train(epochs=2, batch_size=4)
    update = one.update()
    changed = {name for name, tensor in update.items() if tensor.to(torch.float64).any()}
    names = {"strided", "first.weight", "first.bias", "second.weight", "second.bias", "last.weight", "last.bias"}
    assert changed == names
    assert torch.equal(update["first.weight"], update["second.weight"])
    assert one.model.again is one.model.positions


class Unpooling(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.last = torch.nn.Linear(16, 2)

    def forward(self, inputs):
        pooled, places = torch.nn.functional.max_pool2d(inputs, 2, return_indices=True)
        return self.last(torch.nn.functional.max_unpool2d(pooled, places, 2).flatten(1))


def test_an_operation_that_is_not_repeatable(tmp_path):
    pictures = torch.randn(4, 1, 4, 4)
    one = One(tmp_path, Given(Unpooling, (pictures, LABELS[:4]), (pictures, LABELS[:4])))
    for work in (one.train, one.evaluate):
        with pytest.raises(
            TaskInvalidError, match=r"max_unpooling2d_forward_out has no .*training\.determinism is Strict"
        ):
            work()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that is what Warn is
        assert one.train(determinism="Warn").samples == 4
        assert one.evaluate(determinism="Warn").samples == 4
    with pytest.raises(TaskInvalidError, match="Strict"):
        one.train()


def test_statistics_of_the_batch_alone_get_no_single_sample_in_evaluation(tmp_path):
    def model():
        return torch.nn.Sequential(torch.nn.BatchNorm1d(3, track_running_stats=False), torch.nn.Linear(3, 2))

    one = One(tmp_path, Given(model, (INPUTS, LABELS), (INPUTS, LABELS)))
    assert one.evaluate(batch_size=4).samples == one.evaluate(batch_size=1).samples == 9
    assert one.train(batch_size=4).samples == 9
