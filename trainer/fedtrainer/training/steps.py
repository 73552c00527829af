"""One optimizer step over a rank's share of a batch: parts, precision, reduction, update. Called by loop.py."""

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch

from fedapi.wire.training import OptimizerSettings, TrainingSettings
from fedtrainer.errors import BadSettingsError, TaskInvalidError
from fedtrainer.training import fit, shares
from fedtrainer.training.batches import fitting, real_type, take
from fedtrainer.training.context import Context
from fedtrainer.training.losses import Losses

if TYPE_CHECKING:
    from fedtrainer.training.task import Task

LEAST_OF_A_SHORT_BATCH = 2  # as little as a rank takes of it, whatever the model
HALF = {"BFloat16": torch.bfloat16, "Float16": torch.float16}


def optimizer_of(settings: OptimizerSettings, model: torch.nn.Module) -> torch.optim.Optimizer:
    """The job's optimizer over the parameters that train."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        raise TaskInvalidError("model() has no parameter that requires a gradient: there is nothing to train")
    values: dict[str, Any] = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay}
    if settings.name == "SGD":
        values["momentum"] = settings.momentum
    return getattr(torch.optim, settings.name)(parameters, **values)


class Steps:
    """Makes steps with a model, its optimizer and the job's settings."""

    def __init__(self, task: "Task", model: torch.nn.Module, settings: TrainingSettings, ctx: Context) -> None:
        device = torch.device(ctx.device).type
        if settings.mixed_precision == "Float16" and device == "xla":
            raise BadSettingsError("training.mixedPrecision Float16 is not for TPU: use BFloat16")
        if settings.mixed_precision == "Float16" and ctx.method.averages:
            raise BadSettingsError(
                "training.mixedPrecision Float16 leaves steps out, whose gradients the job's strategy needs: use BFloat16"
            )
        self.optimizer = optimizer_of(settings.optimizer, model)
        self._task, self._model, self._ctx = task, model, ctx
        self._parts = settings.gradient_accumulation_steps
        self._half, self._device = HALF.get(settings.mixed_precision), device
        self._scaler = torch.amp.GradScaler(device, enabled=self._half == torch.float16)
        self._sync = ctx.sync(model)
        self._real = real_type(model)
        self._least = fit.least_samples(model) if ctx.ring.multiple == 1 else 1

    def step(self, samples: Any, batch: torch.Tensor, whole: bool, rate: float, flags: int, losses: Losses) -> int:
        """One step over the positions in `batch`; the flags of all ranks, whose gradients it has averaged."""
        least = self._least if whole else LEAST_OF_A_SHORT_BATCH
        ranks = self._ctx.ranks
        pieces = shares.parts(shares.share(len(batch), ranks.rank, ranks.size, least), self._parts, self._least)
        self.optimizer.zero_grad()
        found = []
        if not pieces:
            self._sync.begin(flags)
        for piece in pieces:
            inputs, targets = take(samples, batch[piece.start : piece.stop])
            inputs, targets = self._ctx.place((fitting(inputs, self._real), targets))
            with fit.checked(inputs, targets):
                with self._precision():
                    loss = fit.scalar(self._task.loss(self._model(inputs), targets))
                if piece is pieces[-1]:
                    self._sync.begin(flags)
                self._backward(loss, len(piece) * ranks.size / len(batch))
            found.append((len(piece) / len(batch), loss.detach()))
        flags = self._sync.finish()
        self._update(rate, len(batch))
        losses.add(found)
        return flags

    def numbers(self) -> dict[str, float]:
        """State beside model and optimizer, for a checkpoint."""
        return {f"scaler_{name}": value for name, value in self._scaler.state_dict().items()}

    def restore(self, numbers: dict[str, float]) -> None:
        """Puts that state back."""
        kept = {name: numbers.get(f"scaler_{name}", value) for name, value in self._scaler.state_dict().items()}
        if kept:
            self._scaler.load_state_dict(kept)

    def close(self) -> None:
        """Nothing of it is on the model."""

    def _precision(self) -> AbstractContextManager[Any]:
        return torch.autocast(self._device, self._half) if self._half is not None else nullcontext()

    def _backward(self, loss: torch.Tensor, weight: float) -> None:
        if weight != 1.0:
            loss = loss * weight
        self._scaler.scale(loss).backward()

    def _update(self, rate: float, samples: int) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        if self._ctx.method.wanted:
            self._scaler.unscale_(self.optimizer)  # a step that overflowed stays one that is left out
            self._ctx.correct(self.optimizer, samples)
        self._scaler.step(self.optimizer)
        self._scaler.update()
        self._ctx.ring.flush()
