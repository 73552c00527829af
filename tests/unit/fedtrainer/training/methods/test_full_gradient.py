"""FedSGD: sites that have all the data between them make one step of gradient descent over all of it."""

import pytest
import torch

from fedtrainer import Data, Task, TrainResult
from fedtrainer.errors import TaskInvalidError
from tests.unit.fedtrainer.training.methods.federation import Federation, settings

INPUTS = torch.randn(40, 6, generator=torch.Generator().manual_seed(1))
TARGETS = torch.randint(0, 3, (40,), generator=torch.Generator().manual_seed(2))
WHOLE = settings(epochs=1, local_steps=None, batch_size=4)


class Part(Task):
    """Some of the samples; a network, tied and frozen parts of it included."""

    def __init__(self, start, stop, norm=False):
        self.range, self.norm = slice(start, stop), norm

    def model(self):
        layers = [torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)]
        layers[2].weight.requires_grad_(False)
        if self.norm:
            layers.insert(1, torch.nn.BatchNorm1d(8))
        return torch.nn.Sequential(*layers)

    def data(self, site):
        return Data((INPUTS[self.range], TARGETS[self.range]))


def sites(**said):
    return {"a": Part(0, 7, **said), "b": Part(7, 30, **said), "c": Part(30, 40, **said)}


def centralized(model, rate):
    """The same step by torch, with all rows at once."""
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=rate)
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(INPUTS), TARGETS).backward()
    optimizer.step()
    return model.state_dict()


def test_it_is_gradient_descent_over_all_data(tmp_path):
    job = Federation(tmp_path, sites(), "FedSGD", WHOLE, learning_rate=0.7)
    model = Part(0, 40).model()
    model.load_state_dict({n: t.clone() for n, t in job.now().items()})
    for _ in range(3):
        expected = centralized(model, 0.7)
        found = job.go_on()
        for name, tensor in expected.items():
            assert torch.allclose(found[name], tensor, rtol=0, atol=1e-6), name
        model.load_state_dict({n: t.clone() for n, t in found.items()})


def test_the_update_is_minus_the_gradient_to_the_bit(tmp_path):
    """Not the difference of a model that was stepped, which is rounded. Of one sample, whose gradient has no order of sums."""
    job = Federation(tmp_path, {"a": Part(3, 4)}, "FedSGD", WHOLE, learning_rate=1.0)
    model = Part(3, 4).model()
    model.load_state_dict({n: t.clone() for n, t in job.now().items()})
    trained = job.train("a")
    torch.nn.functional.cross_entropy(model(INPUTS[3:4]), TARGETS[3:4]).backward()
    sent = job.payload("a")
    trains = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert sent.keys() == trains.keys(), "what is frozen is not sent"
    for name, parameter in trains.items():
        assert torch.equal(sent[name], -parameter.grad), name
    assert not torch.equal(sent["0.weight"], (model[0].weight + sent["0.weight"]) - model[0].weight), (
        "a difference is not it"
    )
    assert (trained.samples, trained.steps) == (1, 1)


def test_buffers_are_averaged_and_not_scaled(tmp_path):
    far, near = (
        Federation(tmp_path / str(rate), sites(norm=True), "FedSGD", WHOLE, learning_rate=rate) for rate in (100.0, 1.0)
    )
    one, other = far.go_on(), near.go_on()
    for name in ("1.running_mean", "1.running_var", "1.num_batches_tracked"):
        assert torch.equal(one[name], other[name])
    assert not torch.equal(one["0.weight"], other["0.weight"])


def test_a_last_batch_that_cannot_be_normalized_does_not_count(tmp_path):
    job = Federation(tmp_path, {"a": Part(0, 9, norm=True)}, "FedSGD", WHOLE, learning_rate=1.0)
    assert job.train("a").samples == 8


class OwnLoop(Part):
    """As one writes it for any strategy."""

    def __init__(self, *range_, told=None, passes=1, calls=True):
        super().__init__(*range_)
        self.told, self.passes, self.calls = told, passes, calls

    def train(self, model, data, settings, ctx):
        inputs, targets = data.train
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
        for _ in range(self.passes):
            for index in torch.arange(len(targets)).split(settings.batch_size):
                optimizer.zero_grad()
                self.loss(model(inputs[index]), targets[index]).backward()
                if self.calls:
                    ctx.correct(optimizer, self.told or len(index))
                optimizer.step()
        return TrainResult(len(targets))


def test_a_loop_of_ones_own(tmp_path):
    own = Federation(tmp_path / "own", {"a": OwnLoop(0, 40)}, "FedSGD", WHOLE, learning_rate=1.0)
    default = Federation(tmp_path / "default", {"a": Part(0, 40)}, "FedSGD", WHOLE, learning_rate=1.0)
    one, other = own.go_on(), default.go_on()
    assert all(torch.allclose(one[name], other[name], atol=1e-6) for name in one)


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (OwnLoop(0, 40, calls=False), "has not asked for it"),
        (OwnLoop(0, 40, passes=2), "returned 40 samples, and told ctx.correct of 80"),
        (OwnLoop(0, 40, told=1), "told ctx.correct of 10"),
        (OwnLoop(0, 40, told=-1), "samples is -1"),
    ],
)
def test_a_loop_that_does_otherwise_is_told(tmp_path, task, words):
    with pytest.raises(TaskInvalidError, match=words):
        Federation(tmp_path, {"a": task}, "FedSGD", WHOLE, learning_rate=1.0).go_on()


class Moves(Part):
    """Steps once before it calls."""

    def train(self, model, data, settings, ctx):
        with torch.no_grad():
            next(model.parameters()).add_(1)
        return super().train(model, data, settings, ctx)


def test_a_training_that_moves_the_model_is_told(tmp_path):
    with pytest.raises(TaskInvalidError, match=r"has moved parameter '0\.weight'"):
        Federation(tmp_path, {"a": Moves(0, 9)}, "FedSGD", WHOLE, learning_rate=1.0).go_on()
