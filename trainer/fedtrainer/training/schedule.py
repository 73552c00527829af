"""How many optimizer steps a round has, of how many samples, and with which learning rate. Pure; used by loop.py.

Learning-rate factor for larger batches and warm-up: Goyal et al. 2017, https://arxiv.org/abs/1706.02677, section 2.
"""

import math
from dataclasses import dataclass
from typing import Self

from fedapi.wire.training import TrainingSettings
from fedtrainer.errors import BadSettingsError


@dataclass(frozen=True)
class Schedule:
    """The optimizer steps of one round at one site. The last step of an epoch may have fewer samples."""

    batch: int  # samples of a step, all ranks together
    per_epoch: int  # steps
    steps: int

    @classmethod
    def of(cls, settings: TrainingSettings, samples: int, ranks: int) -> Self:
        """For a site with `samples` > 0 training samples."""
        batch = settings.batch_size * (ranks if settings.batch_per == "Rank" else 1)
        per_epoch = -(-samples // batch)
        return cls(batch, per_epoch, settings.local_steps or (settings.epochs or 1) * per_epoch)

    @property
    def epochs(self) -> int:
        """How many are begun."""
        return -(-self.steps // self.per_epoch)

    def steps_of(self, epoch: int) -> int:
        """Steps of an epoch, counted from 0; local steps may end within the last."""
        return min(self.steps - epoch * self.per_epoch, self.per_epoch)

    def position(self, epoch: int, step: int, batch: int) -> tuple[int, int]:
        """Where to go on after `step` steps of `batch` samples in `epoch`, which may come from a ring of other size."""
        if batch != self.batch:
            step = step * batch // self.batch
        done = min(epoch * self.per_epoch + min(step, self.per_epoch), self.steps)
        last = max(done - 1, 0) // self.per_epoch
        return (last, done - last * self.per_epoch) if done == self.steps else divmod(done, self.per_epoch)


def usable(settings: TrainingSettings, samples: int, ranks: int, multiple: int, least: int = 1) -> int:
    """How many of `samples` an epoch takes: all, or those that come in multiples, each epoch without others.

    `multiple` is the ring's. A last batch with fewer samples than `least` is left out, unless it is the only one or
    whole batches are no larger. BadSettingsError when a batch, or a part of it, cannot be shared out evenly.
    """
    batch = settings.batch_size * (ranks if settings.batch_per == "Rank" else 1)
    if multiple == 1:
        rest = samples % batch
        return samples - rest if rest < least <= batch and samples > rest else samples
    multiple *= settings.gradient_accumulation_steps
    if batch % multiple:
        raise BadSettingsError(
            f"training.batchSize makes a batch of {batch} samples, but the hosts of a TPU slice share out multiples of "
            f"{multiple} (chips of all hosts, times gradientAccumulationSteps): choose training.batchSize accordingly"
        )
    if samples < multiple:
        raise BadSettingsError(
            f"the site has {samples} training samples, fewer than the {multiple} that its TPU pool needs"
        )
    return samples - samples % multiple


def learning_rate(settings: TrainingSettings, ranks: int, step: int) -> float:
    """Of an optimizer step of the site, counted from 0 over all rounds."""
    rate = settings.optimizer.learning_rate
    if settings.batch_per == "Rank" and settings.learning_rate_scaling != "None":
        rate *= ranks if settings.learning_rate_scaling == "Linear" else math.sqrt(ranks)
    if step + 1 < settings.warmup_steps:
        rate *= (step + 1) / settings.warmup_steps
    return rate
