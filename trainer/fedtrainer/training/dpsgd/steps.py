"""Steps of DP-SGD (Abadi et al. 2016, algorithm 1): per record clipped gradients, their sum with noise, over a fixed number.

The number is the job's batch size, whatever was drawn and however many records there are: a step over none is a step, of noise
alone. Ranks share a step's records; rank 0 adds the noise. Called by loop.py in the place of training/steps.py.
"""

import warnings
from typing import TYPE_CHECKING, Any

import torch
from opacus.grad_sample import GradSampleHooks
from opacus.optimizers import DPOptimizer

from fedapi.wire.training import TrainingSettings
from fedtrainer.errors import TaskInvalidError
from fedtrainer.training import fit, shares
from fedtrainer.training.batches import fitting, real_type, take
from fedtrainer.training.context import Context
from fedtrainer.training.dpsgd import randomness
from fedtrainer.training.dpsgd.accountant import Release
from fedtrainer.training.dpsgd.private import PrivateTraining
from fedtrainer.training.losses import Losses
from fedtrainer.training.steps import optimizer_of

if TYPE_CHECKING:
    from fedtrainer.training.task import Task

_NUMBERS = ("noise_multiplier", "sample_rate", "steps")  # of a Release, in a checkpoint


class PrivateSteps:
    """Makes steps with a model and its optimizer; `close` leaves nothing of Opacus on the model."""

    def __init__(
        self,
        task: "Task",
        model: torch.nn.Module,
        settings: TrainingSettings,
        ctx: Context,
        private: PrivateTraining,
        batch: int,
    ) -> None:
        self.optimizer = optimizer_of(settings.optimizer, model)
        self._task, self._model, self._ctx, self._private, self._batch = task, model, ctx, private, batch
        self._parts, self._real = settings.gradient_accumulation_steps, real_type(model)
        self._sync = ctx.sync(model)
        try:
            self._hooks = GradSampleHooks(model, loss_reduction="mean", strict=False)
        except NotImplementedError as error:
            raise TaskInvalidError(f"privacy.dpSGD cannot train the model: {error}") from error
        self._clipping = DPOptimizer(
            self.optimizer,
            noise_multiplier=private.release.noise_multiplier,
            max_grad_norm=private.asked.max_grad_norm,
            expected_batch_size=batch,
        )

    def step(self, samples: Any, batch: torch.Tensor, whole: bool, rate: float, flags: int, losses: Losses) -> int:  # noqa: ARG002 - as Steps.step
        """One step over the drawn positions in `batch`; the flags of all ranks."""
        ranks = self._ctx.ranks
        self._clipping.zero_grad(set_to_none=True)
        found = []
        for piece in shares.parts(shares.share(len(batch), ranks.rank, ranks.size), self._parts):
            inputs, targets = take(samples, batch[piece.start : piece.stop])
            inputs, targets = self._ctx.place((fitting(inputs, self._real), targets))
            with fit.checked(inputs, targets):
                loss = fit.scalar(self._task.loss(self._model(inputs), targets))
                _backward(loss)
            self._clip(len(piece))
            found.append((len(piece) / self._batch, loss.detach()))
        if not found:
            self._clip(0)
        self._add_noise()
        self._sync.begin(flags)
        flags = self._sync.finish()
        self._update(rate)
        losses.add(found)
        return flags

    def numbers(self) -> dict[str, float]:
        """What a checkpoint keeps of the training's privacy."""
        release = self._private.release
        return {f"private_{name}": float(getattr(release, name)) for name in _NUMBERS}

    def restore(self, numbers: dict[str, float]) -> None:
        """Goes on from it."""
        noise, rate, steps = (numbers.get(f"private_{name}") for name in _NUMBERS)
        if noise is not None and rate is not None and steps is not None:
            self._private.go_on(Release(noise, rate, int(steps)))

    def close(self) -> None:
        """The training is over."""
        self._hooks.cleanup()
        for parameter in self._clipping.params:
            del parameter.summed_grad

    def _clip(self, records: int) -> None:
        """Adds the records' clipped gradients to the sum. A parameter that none of them has reached has gradients of 0."""
        for parameter in self._clipping.params:
            found = getattr(parameter, "grad_sample", None)
            if found is None:
                parameter.grad_sample = parameter.new_zeros((records, *parameter.shape))
            elif not isinstance(found, torch.Tensor) or len(found) != records:
                raise TaskInvalidError(
                    f"privacy.dpSGD: a batch of {records} records gives the model gradients that are not one for each record: keep "
                    "the first dimension of every layer's input the records"
                )
        self._clipping.clip_and_accumulate()
        for parameter in self._clipping.params:
            parameter.grad_sample = None

    def _add_noise(self) -> None:
        """Into the gradients: this rank's part of the mean over all ranks, which is the sum and its noise over the fixed number."""
        ranks = self._ctx.ranks
        scale = self._clipping.noise_multiplier * self._clipping.max_grad_norm
        with torch.no_grad():
            for parameter in self._clipping.params:
                total = parameter.summed_grad.detach().cpu().double()
                if ranks.rank == 0:
                    total += scale * randomness.normals(parameter.shape)
                parameter.grad = (total * (ranks.size / self._batch)).to(parameter)

    def _update(self, rate: float) -> None:
        """What follows is made of the noisy gradient alone."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self._ctx.correct(self.optimizer, self._batch)
        self.optimizer.step()
        self._ctx.ring.flush()


def _backward(loss: torch.Tensor) -> None:
    """Torch warns of Opacus' hook on the first layer, whose inputs need no gradient: it is fired all the same."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Full backward hook is firing", UserWarning)
        loss.backward()
