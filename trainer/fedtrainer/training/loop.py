"""The torch loop: defaults of Task.train, Task.evaluate, Task.loss and Task.metrics. Called through task.py.

All ranks of a site run it together: a batch is shared among them, their gradients are averaged, and what one of them
has to tell (the round is over, its pod must go) is known to all after the same step.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import torch

from fedapi.wire.training import TrainingSettings
from fedtrainer.errors import DroppedError
from fedtrainer.ring import operations
from fedtrainer.training import agreement, fit, shares
from fedtrainer.training.batches import fitting, len_of, part_of, real_type, shuffled, take
from fedtrainer.training.context import Context, Position
from fedtrainer.training.losses import Losses
from fedtrainer.training.means import Means
from fedtrainer.training.metrics import with_extras
from fedtrainer.training.parallel import Flag, end_if_told, own_flags
from fedtrainer.training.results import Data, EvalResult, TrainResult
from fedtrainer.training.schedule import Schedule, learning_rate, usable
from fedtrainer.training.steps import Steps

if TYPE_CHECKING:
    from fedtrainer.training.dpsgd.steps import PrivateSteps
    from fedtrainer.training.task import Task

log = logging.getLogger(__name__)


def default_loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross entropy for integer targets, mean squared error for real ones."""
    fit.single(outputs, targets)
    if targets.dtype.is_floating_point:
        targets = fit.real_targets(outputs, targets)
        return torch.nn.functional.mse_loss(outputs.reshape(targets.shape), targets)
    return torch.nn.functional.cross_entropy(outputs, fit.class_numbers(outputs, targets))


def default_metrics(outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
    """Accuracy for integer targets, nothing for real ones (the loss is always reported)."""
    fit.single(outputs, targets)
    if targets.dtype.is_floating_point:
        return {}
    return {"accuracy": float((outputs.argmax(dim=1) == fit.class_numbers(outputs, targets)).double().mean())}


def train(task: "Task", model: torch.nn.Module, data: Data, settings: TrainingSettings, ctx: Context) -> TrainResult:
    """Epochs or local steps with the job's optimizer; goes on from a checkpoint. Diverged when the loss is not finite."""
    if data.train is None or (samples := len_of(part := part_of(data.train, "train"))) == 0:
        return TrainResult(0, steps=0)
    model.train()
    training = _Training(task, model, part, settings, ctx, samples)
    counted = training.usable if ctx.method.full_gradient else samples  # a gradient weighs what it is of
    with closing(training):
        loss = training.run()
    said = {"train_loss": loss} if ctx.private is None else {}  # no noise is on it
    return TrainResult(counted, said, training.steps)


class _Training:
    """One training of one round."""

    def __init__(
        self, task: "Task", model: torch.nn.Module, part: Any, settings: TrainingSettings, ctx: Context, samples: int
    ) -> None:
        self._model, self._part, self._settings, self._ctx = model, part, settings, ctx
        least = fit.least_samples(model) if ctx.private is None else 1  # records are drawn one by one
        self.usable = usable(settings, samples, ctx.ranks.size, ctx.ring.multiple, least)
        self._schedule = Schedule.of(settings, self.usable, ctx.ranks.size)
        self._before = (ctx.site.round - 1) * self._schedule.steps  # steps of earlier rounds, for the warm-up
        self._steps = _steps(task, model, settings, ctx, samples, self._schedule)

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole round, those of an earlier process included."""
        return self._schedule.steps

    def run(self) -> float:
        """All steps that are left; the last epoch's mean loss."""
        found = self._ctx.progress.load(self._model, self._steps.optimizer)
        self._steps.restore(dict(found.numbers))
        batch = int(found.numbers.get("batch", self._schedule.batch))
        epoch, step = self._schedule.position(found.epoch, found.step, batch)
        losses = Losses(self._ctx)
        if step:
            losses.go_on(found.numbers.get("loss", 0.0), found.step)
        mean = self._epoch(epoch, step, losses)
        for later in range(epoch + 1, self._schedule.epochs):
            mean = self._epoch(later, 0, Losses(self._ctx))
        return mean

    def _epoch(self, epoch: int, first: int, losses: Losses) -> float:
        schedule = self._schedule
        batches = self._batches(epoch)
        for step in range(first, schedule.steps_of(epoch)):
            self._ctx.seed_step(epoch, step)
            number_ = epoch * schedule.per_epoch + step
            rate = learning_rate(self._settings, self._ctx.ranks.size, self._before + number_)
            whole = len(batches[step]) == schedule.batch
            flags = self._steps.step(self._part, batches[step], whole, rate, self._flags(number_), losses)
            if flags & (Flag.CHECKPOINT | Flag.LEAVING):
                self._keep(epoch, step + 1, losses)
            end_if_told(flags)
        return losses.mean(epoch)

    def close(self) -> None:
        """Takes off the model what the steps have put on it."""
        self._steps.close()

    def _batches(self, epoch: int) -> Sequence[torch.Tensor]:
        """Positions for each step of an epoch."""
        generator = self._ctx.epoch_generator(epoch)
        if (private := self._ctx.private) is not None:
            return [private.drawn(self.usable) for _ in range(self._schedule.per_epoch)]
        batches: Sequence[torch.Tensor] = shuffled(self._part, generator)[: self.usable].split(self._schedule.batch)
        return batches

    def _flags(self, step: int) -> Flag:
        last = step + 1 == self._schedule.steps  # the update follows at once
        due = self._ctx.ranks.rank == 0 and not last and self._ctx.progress.due()
        return own_flags(self._ctx) | (Flag.CHECKPOINT if due else Flag(0))

    def _keep(self, epoch: int, step: int, losses: Losses) -> None:
        numbers = {"batch": self._schedule.batch, "loss": losses.total(epoch), **self._steps.numbers()}
        buffers = agreement.buffers_of_ranks(self._ctx.ring, self._model)
        self._ctx.progress.write(self._model, self._steps.optimizer, Position(epoch, step, numbers), buffers)


def _steps(
    task: "Task", model: torch.nn.Module, settings: TrainingSettings, ctx: Context, samples: int, schedule: Schedule
) -> "Steps | PrivateSteps":
    private = ctx.private
    if private is None:
        return Steps(task, model, settings, ctx)
    from fedtrainer.training.dpsgd.steps import PrivateSteps  # noqa: PLC0415 - Opacus: where it is asked for alone

    private.begin(model, samples, schedule.batch, schedule.steps)
    return PrivateSteps(task, model, settings, ctx, private, schedule.batch)


def evaluate(task: "Task", model: torch.nn.Module, data: Data, settings: TrainingSettings, ctx: Context) -> EvalResult:
    """Means over the test samples of the task's metrics, then `loss` where it fits. Ranks share the batches.

    Where hosts compute one batch together, samples at the end that do not divide among their chips are left out.
    """
    multiple = ctx.ring.multiple
    part = (torch.empty(0), torch.empty(0)) if data.test is None else part_of(data.test, "test")
    samples, real, means, losses = len_of(part), real_type(model), Means(), Means()
    samples -= samples % multiple
    dropped = False
    model.eval()
    least = fit.least_samples(model) if multiple == 1 else 1
    with torch.no_grad():  # not inference mode: what forward caches is used in training
        for batch in own_batches(samples, settings.batch_size, ctx.ranks.rank, ctx.ranks.size, multiple, least):
            ctx.end_if_leaving()
            dropped = dropped or ctx.stopped()
            if dropped and multiple == 1:  # hosts that compute one batch together go on together
                break
            inputs, targets = take(part, batch)
            inputs, targets = ctx.place((fitting(inputs, real), targets))
            with fit.checked(inputs, targets):
                outputs = model(inputs)
                means.add(task.metrics(outputs, targets), len(batch))
                losses.add({"loss": fit.scalar(task.loss(outputs, targets))}, len(batch))
    if operations.sums(ctx.ring, [float(dropped)])[0]:
        raise DroppedError("the aggregator closed the round")
    return EvalResult(samples, with_extras(means.of_all_ranks(ctx), losses.of_all_ranks(ctx)))


def own_batches(samples: int, batch_size: int, rank: int, ranks: int, multiple: int, least: int = 1) -> Iterator[range]:
    """The test samples that a rank evaluates: whole batches in turn, or an even share of each (see Ring.multiple).

    A last batch of fewer samples than `least` is joined to the one before, so that all samples count.
    """
    length = max(batch_size - batch_size % multiple, multiple, least)
    starts = [start for start in range(0, samples, length) if samples - start >= least or not start]
    for number_, start in enumerate(starts):
        batch = range(start, samples if start == starts[-1] else start + length)
        if multiple > 1:
            mine = shares.share(len(batch), rank, ranks)
            yield batch[mine.start : mine.stop]
        elif number_ % ranks == rank:
            yield batch
