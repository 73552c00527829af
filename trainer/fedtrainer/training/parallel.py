"""A step of several ranks: flags that all ranks see after the same step, and `ctx.parallel` for a task's own loop.

The flags travel with the gradients, so that ranks never part. Used by steps.py, loop.py and, through Context, by tasks.
"""

import signal
from enum import IntFlag
from typing import TYPE_CHECKING

import torch

from fedtrainer import termination
from fedtrainer.errors import DroppedError, RingBrokenError, Terminated
from fedtrainer.ring import operations
from fedtrainer.training import fit, shares

if TYPE_CHECKING:
    from fedtrainer.training.context import Context


class Flag(IntFlag):
    """What a rank may tell all others with a step."""

    DROPPED = 1  # rank 0: the aggregator no longer wants this work
    LEAVING = 2  # any rank: its pod is to go
    CHECKPOINT = 4  # rank 0: the state after this step is to be kept


def own_flags(ctx: "Context") -> Flag:
    """What this rank has to tell."""
    dropped = Flag.DROPPED if ctx.stopped() else Flag(0)
    return dropped | (Flag.LEAVING if termination.wanted() else Flag(0))


def end_if_told(flags: int) -> None:
    """Ends the training where a rank said so. All ranks call it after the same step with the same flags."""
    if flags & Flag.LEAVING:
        if termination.wanted():
            raise Terminated(signal.SIGTERM)
        raise RingBrokenError("another worker of this site was asked to end")
    if flags & Flag.DROPPED:
        raise DroppedError("the aggregator closed the round")


class Parallel:
    """For a training loop of one's own: each rank computes its share of a batch, `backward` averages the gradients."""

    def __init__(self, ctx: "Context", model: torch.nn.Module) -> None:
        self._ctx = ctx
        self._sync = ctx.sync(model)
        self._model = model

    def share(self, index: torch.Tensor) -> tuple[torch.Tensor, float]:
        """This rank's part of a batch's positions, never empty, and the factor for the mean loss over that part.

        With the factor the gradients are those of the mean loss over the whole batch; it is 1.0 when shares are equal.
        """
        least = fit.least_samples(self._model)
        mine = shares.share(len(index), self._ctx.ranks.rank, self._ctx.ranks.size, least)
        if not mine:
            return index[:least], 0.0
        return index[mine.start : mine.stop], len(mine) * self._ctx.ranks.size / len(index)

    def backward(self, loss: torch.Tensor, *, last: bool = True) -> None:
        """As loss.backward(); after the last of a step, gradients are means over all ranks. May end the training."""
        if not last:
            loss.backward()
            return
        self._sync.begin(own_flags(self._ctx))
        loss.backward()
        end_if_told(self._sync.finish())

    def mean(self, value: float) -> float:
        """The mean of a number over all ranks, for a metric."""
        return operations.sums(self._ctx.ring, [value])[0] / self._ctx.ranks.size
