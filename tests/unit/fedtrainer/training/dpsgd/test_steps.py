"""A step is the sum of gradients that were clipped record by record, with noise, over the job's batch size."""

import pytest
import torch

from fedapi.wire.training import TrainingSettings
from fedtrainer import Data, Task
from fedtrainer.errors import DroppedError, TaskInvalidError
from fedtrainer.training.dpsgd import randomness
from tests.unit.fedtrainer.training.dpsgd.sites import Seeded, asked, context, flat, trained

CLIP = 0.3
QUIET = asked(noise_multiplier=1e-9, max_grad_norm=CLIP)  # what is seen is the sum alone


def records(count=6):
    generator = torch.Generator().manual_seed(2)
    return torch.randn(count, 3, generator=generator) * 2, torch.randint(0, 2, (count,), generator=generator)


def network():
    torch.manual_seed(4)
    return torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.LayerNorm(5), torch.nn.Linear(5, 2))


def clipped_sum(model, inputs, targets):
    """By autograd, one record after the other."""
    total = torch.zeros_like(flat(model))
    for value, target in zip(inputs, targets, strict=True):
        model.zero_grad()
        torch.nn.functional.cross_entropy(model(value[None]), target[None]).backward()
        gradient = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
        total += gradient * min(1.0, CLIP / float(gradient.norm()))
    return total


@pytest.mark.parametrize("parts", [1, 3])
def test_a_step_is_the_clipped_sum_over_the_batch_size(parts):
    inputs, targets = records()
    model, before = network(), flat(network())
    expected = clipped_sum(network(), inputs, targets) / 8
    result = trained(Task(), model, (inputs, targets), QUIET, gradient_accumulation_steps=parts)
    assert torch.allclose(before - flat(model), expected, atol=1e-6)
    assert (result.samples, result.steps, result.metrics) == (6, 1, {}), (
        "the training loss is not told: no noise is on it"
    )


def test_the_number_that_a_sum_is_divided_by_is_never_that_of_the_records():
    """Opacus' issues 571 and 819: a mean over what was drawn, or over what there is, tells how many there are."""
    inputs, targets = records(1)
    for count in (1, 2, 5):
        model, before = network(), flat(network())
        trained(Task(), model, (inputs.expand(count, 3), targets.expand(count)), QUIET)
        one = clipped_sum(network(), inputs, targets)
        assert torch.allclose(before - flat(model), count * one / 8, atol=1e-6)


def test_a_step_over_no_record_is_noise_alone(monkeypatch):
    monkeypatch.setattr(randomness, "drawn", lambda _count, _rate: torch.empty(0, dtype=torch.int64))
    monkeypatch.setattr(randomness, "normals", lambda shape: torch.ones(shape, dtype=torch.float64))
    model, before = network(), flat(network())
    trained(Task(), model, records(40), asked(noise_multiplier=2.0, max_grad_norm=CLIP), epochs=None, local_steps=3)
    assert torch.allclose(before - flat(model), torch.full_like(before, 3 * 2.0 * CLIP / 8), atol=1e-6)


def test_the_noise_has_the_standard_deviation_that_is_said(monkeypatch):
    monkeypatch.setattr(randomness.os, "urandom", Seeded(31).urandom)
    moved = []
    for _ in range(60):
        model = torch.nn.Linear(100, 1, bias=False)
        before = flat(model).clone()
        trained(Task(), model, (torch.zeros(4, 100), torch.zeros(4, 1)), asked(noise_multiplier=1.5, max_grad_norm=0.5))
        moved.append(before - flat(model))
    assert torch.stack(moved).std().item() == pytest.approx(1.5 * 0.5 / 8, rel=0.05)


def test_two_trainings_of_one_seed_have_other_noise_and_other_records():
    found = []
    for _ in range(2):
        model = network()
        trained(Task(), model, records(40), asked(), seed=9)
        found.append(flat(model))
    assert not torch.equal(*found)


def test_a_parameter_that_no_record_reaches_has_noise_all_the_same():
    class Half(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)

        def forward(self, inputs):
            return self.used(inputs)

    model = Half()
    before = model.unused.weight.detach().clone()
    trained(Task(), model, records(), asked())
    assert not torch.equal(model.unused.weight, before)


def test_frozen_parameters_stay():
    model = network()
    model[0].weight.requires_grad_(False)
    before = model[0].weight.clone()
    trained(Task(), model, records(), asked())
    assert torch.equal(model[0].weight, before)


def test_nothing_of_opacus_stays_on_the_model():
    model = network()
    plain = {id(parameter): set(vars(parameter)) for parameter in model.parameters()}
    trained(Task(), model, records(), asked())
    assert {id(parameter): set(vars(parameter)) for parameter in model.parameters()} == plain
    assert not any(module._forward_hooks or module._backward_hooks for module in model.modules())
    assert not hasattr(model, "autograd_grad_sample_hooks")


def test_layers_that_take_records_apart_are_refused():
    class Folded(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(1, 2)

        def forward(self, inputs):
            return self.layer(inputs.reshape(-1, 1)).reshape(len(inputs), 3, 2).mean(1)

    with pytest.raises(TaskInvalidError, match="keep the first dimension of every layer's input the records"):
        trained(Task(), Folded(), records(), asked())


def test_a_training_that_was_broken_goes_on_and_is_charged_for_whole(tmp_path):
    told, data = TrainingSettings(epochs=4, batch_size=8), Data(records(16))
    asks = iter([False] * 3 + [True] * 100)
    ctx = context(tmp_path, asked(noise_multiplier=0.5), stopped=lambda: next(asks))
    with pytest.raises(DroppedError):
        Task().train(network(), data, told, ctx)
    again = context(tmp_path, asked(noise_multiplier=0.5))
    assert Task().train(network(), data, told, again).steps == 8
    assert again.private.release == ctx.private.release

    other = context(tmp_path, asked(noise_multiplier=2.0))
    Task().train(network(), Data(records(32)), told, other)
    assert other.private.release.noise_multiplier == 0.5, "the dearer of both"
    assert other.private.release.sample_rate == 0.5
    assert other.private.release.steps == 8 + 16
