"""The torch loop: defaults of Task.train, Task.evaluate, Task.loss and Task.metrics. Called through task.py."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from fedapi.wire.job import OptimizerSettings, TrainingSettings
from fedtrainer.errors import Diverged, TaskInvalid
from fedtrainer.training.batches import batches, size
from fedtrainer.training.context import Context
from fedtrainer.training.metrics import number, with_extras

if TYPE_CHECKING:
    from fedtrainer.training.task import Data, EvalResult, Task, TrainResult


def default_loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross entropy for integer targets, mean squared error for real ones."""
    if targets.dtype.is_floating_point:
        return torch.nn.functional.mse_loss(outputs.reshape(targets.shape), targets)
    return torch.nn.functional.cross_entropy(outputs, targets)


def default_metrics(outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
    """Accuracy for integer targets, nothing for real ones (the loss is always reported)."""
    if targets.dtype.is_floating_point:
        return {}
    return {"accuracy": float((outputs.argmax(dim=1) == targets).double().mean())}


def optimizer_of(settings: OptimizerSettings, model: torch.nn.Module) -> torch.optim.Optimizer:
    """The job's optimizer over the parameters that train."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    values: dict[str, Any] = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay}
    if settings.name == "SGD":
        values["momentum"] = settings.momentum
    return getattr(torch.optim, settings.name)(parameters, **values)


def train(
    task: "Task", model: torch.nn.Module, data: "Data", settings: TrainingSettings, ctx: Context
) -> "TrainResult":
    """Epochs or local steps with the job's optimizer; goes on from a checkpoint. Diverged when the loss is not finite."""
    from fedtrainer.training.task import TrainResult  # noqa: PLC0415 - task.py imports this module late

    samples = size(data.train, "train")
    if samples == 0:
        return TrainResult(0)
    model.train()
    optimizer = optimizer_of(settings.optimizer, model)
    steps_per_epoch = -(-samples // settings.batch_size)
    steps = settings.local_steps or (settings.epochs or 1) * steps_per_epoch
    epochs, loss = -(-steps // steps_per_epoch), 0.0
    for epoch in range(min(ctx.progress.load(model, optimizer), epochs - 1), epochs):
        allowed = min(steps - epoch * steps_per_epoch, steps_per_epoch)
        loss = _epoch(task, model, optimizer, data.train, settings.batch_size, ctx, epoch, allowed)
        if epoch + 1 < epochs:
            ctx.progress.save(model, optimizer, epoch + 1)
    return TrainResult(samples, {"train_loss": loss})


def _epoch(
    task: "Task",
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    part: Any,
    batch_size: int,
    ctx: Context,
    epoch: int,
    steps: int,
) -> float:
    """At most `steps` optimizer steps; the mean loss."""
    total, count = torch.zeros((), dtype=torch.float64), 0
    for inputs, targets in batches(part, batch_size, ctx.device, ctx.epoch_generator(epoch)):
        if count == steps:
            break
        ctx.check()
        optimizer.zero_grad()
        loss = task.loss(model(inputs), targets)
        loss.backward()
        optimizer.step()
        total += loss.detach().cpu()
        count += 1
    mean = float(total) / count
    if not math.isfinite(mean):
        raise Diverged(f"the training loss is {mean} in epoch {epoch + 1}: lower training.optimizer.learningRate")
    return mean


def evaluate(
    task: "Task", model: torch.nn.Module, data: "Data", settings: TrainingSettings, ctx: Context
) -> "EvalResult":
    """Means over the test samples of the task's metrics, then `loss` where it fits."""
    from fedtrainer.training.task import EvalResult  # noqa: PLC0415 - task.py imports this module late

    samples, sums, losses = size(data.test, "test"), dict[str, float](), dict[str, float]()
    model.eval()
    with torch.inference_mode():
        for inputs, targets in batches(data.test, settings.batch_size, ctx.device):
            ctx.check()
            outputs = model(inputs)
            _add(sums, task.metrics(outputs, targets), len(targets))
            _add(losses, {"loss": float(task.loss(outputs, targets))}, len(targets))
    return EvalResult(samples, {name: total / samples for name, total in with_extras(sums, losses).items()})


def _add(sums: dict[str, float], metrics: Mapping[str, Any], weight: int) -> None:
    if not isinstance(metrics, Mapping):
        raise TaskInvalid(f"metrics() returned a {type(metrics).__name__}: return a dict of name and number")
    for name, value in metrics.items():
        sums[name] = sums.get(name, 0.0) + number(name, value) * weight
