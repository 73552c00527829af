"""The losses of an epoch: their mean over the site, and which rank met the first that is not finite. Used by loop.py."""

import math

import torch

from fedtrainer.errors import DivergedError
from fedtrainer.ring import operations
from fedtrainer.training.context import Context

READ_AT_ONCE = 64  # losses stay on the device until there are so many: reading one stops a GPU or TPU


class Losses:
    """Of one rank. A batch's loss is the sum of its parts' over all ranks, each by its weight."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._waiting: list[tuple[int, float, torch.Tensor]] = []
        self._total, self._steps, self._bad = 0.0, 0, math.inf

    def go_on(self, total: float, steps: int) -> None:
        """From a checkpoint: what all ranks had found in the steps of the epoch before."""
        self._total, self._steps = (total if self._ctx.ranks.rank == 0 else 0.0), steps

    def add(self, parts: list[tuple[float, torch.Tensor]]) -> None:
        """The weights and losses of this rank's parts of a batch: none where it had no share."""
        self._waiting += [(self._steps, weight, loss) for weight, loss in parts]
        self._steps += 1
        if len(self._waiting) >= READ_AT_ONCE:
            self._read()

    def total(self, epoch: int) -> float:
        """Sum over steps and ranks. Every rank calls it; DivergedError, everywhere, names the ranks that were first to fail."""
        self._read()
        first = operations.each_rank(self._ctx.ring, self._bad)
        if math.isfinite(min(first)):
            ranks = self._ctx.ranks
            where = (
                f" at {ranks.named(r for r, bad in enumerate(first) if bad == min(first))}" if ranks.size > 1 else ""
            )
            raise DivergedError(
                f"the training loss is not finite in epoch {epoch + 1}, step {min(first) + 1:.0f}{where}: "
                "lower training.optimizer.learningRate, or look for inputs and targets that are not finite"
            )
        return operations.sums(self._ctx.ring, [self._total])[0]

    def mean(self, epoch: int) -> float:
        """The epoch's mean loss."""
        return self.total(epoch) / max(self._steps, 1)

    def _read(self) -> None:
        if not self._waiting:
            return
        values = torch.stack([loss for _, _, loss in self._waiting]).cpu().double().tolist()
        for (step, weight, _), value in zip(self._waiting, values, strict=True):
            if not math.isfinite(value):
                self._bad = min(self._bad, step)
            self._total += value * weight
        self._waiting.clear()
