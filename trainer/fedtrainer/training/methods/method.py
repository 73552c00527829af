"""All that a round's strategy asks of a training: its parts together, and whether the training has let them work.

Made by session.py for every training; `ctx.correct` calls it once per step. It counts the steps, which a checkpoint holds, and
a training that was asked for something and has not called it is an error of the task, never an update without it.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch

from fedapi.wire.training import Method as Settings
from fedtrainer.errors import TaskInvalidError
from fedtrainer.training.methods.control_variates import ControlVariates
from fedtrainer.training.methods.full_gradient import FullGradient
from fedtrainer.training.methods.kept_optimizer import KeptOptimizer
from fedtrainer.training.methods.part import Made, Part, Step, Tensors
from fedtrainer.training.methods.proximal import Proximal
from fedtrainer.training.site_state import SiteState

_CALL = "call ctx.correct(optimizer, samples) once per step, after backward and before optimizer.step()"


class Counts(NamedTuple):
    """How far a training has come."""

    steps: int = 0
    samples: int = 0  # of their batches together


class Method:
    """Of one training. `entries`: the names of parameters by their entries in the model's state."""

    def __init__(self, parts: list[Part], model: torch.nn.Module | None = None) -> None:
        self._parts, self._model = parts, model
        self.full_gradient = any(isinstance(part, FullGradient) for part in parts)  # no step is made
        self.averages = any(isinstance(part, FullGradient | ControlVariates) for part in parts)  # every gradient counts
        self._counts = Counts()
        self._of: tuple[torch.optim.Optimizer, dict[str, torch.nn.Parameter]] | None = None

    @property
    def wanted(self) -> bool:
        """Whether anything is asked for."""
        return bool(self._parts)

    def correct(self, optimizer: torch.optim.Optimizer, samples: int) -> None:
        """Between a backward and the optimizer's step, with the samples of the batch at all ranks."""
        if not self._parts:
            return
        if samples < 1:
            raise TaskInvalidError(f"ctx.correct: samples is {samples}: give those of the whole batch, at least 1")
        self._counts = Counts(self._counts.steps + 1, self._counts.samples + samples)
        step = Step(self._parameters(optimizer), optimizer, samples, *self._counts)
        with torch.no_grad():
            for part in self._parts:
                part.correct(step)

    def check(self, samples: int, steps: int | None) -> None:
        """TaskInvalidError when a training that returns these numbers has not let the method work."""
        if not self._parts or (samples == 0 and self._counts.steps == 0):
            return
        if self._counts.steps == 0:
            raise TaskInvalidError(
                f"the job's strategy changes what a step does, and train() has not asked for it: {_CALL}, leave training "
                "to the default, or choose a strategy without a part at the site, such as FedAvg"
            )
        if steps is not None and steps != self._counts.steps:
            raise TaskInvalidError(
                f"train() returned {steps} steps, and called ctx.correct {self._counts.steps} times: {_CALL}"
            )
        if self.full_gradient and samples != self._counts.samples:
            raise TaskInvalidError(
                f"train() returned {samples} samples, and told ctx.correct of {self._counts.samples}: the strategy takes one "
                "gradient over all samples of the site, so go through them once, and give each batch's whole number"
            )

    def kept(self) -> Tensors:
        """For a checkpoint, with `counts`."""
        return {
            f"{number}.{name}": value for number, part in enumerate(self._parts) for name, value in part.kept().items()
        }

    @property
    def counts(self) -> Counts:
        """For a checkpoint."""
        return self._counts

    def restore(self, counts: Counts, kept: Mapping[str, torch.Tensor]) -> None:
        """Goes on from a checkpoint."""
        if not self._parts:
            return
        self._counts = counts
        for number, part in enumerate(self._parts):
            prefix = f"{number}."
            part.restore({n.removeprefix(prefix): v.clone() for n, v in kept.items() if n.startswith(prefix)})

    def finish(self) -> Made:
        """What it has made. The site's state is changed with it."""
        made = Made()
        with torch.no_grad():
            for part in self._parts:
                part.finish(made)
        return made

    def _parameters(self, optimizer: torch.optim.Optimizer) -> dict[str, torch.nn.Parameter]:
        if self._of is None or self._of[0] is not optimizer:
            stepped = {id(p) for group in optimizer.param_groups for p in group["params"]}
            named = self._model.named_parameters() if self._model is not None else ()
            self._of = optimizer, {name: p for name, p in named if id(p) in stepped and p.requires_grad}
        return self._of[1]


def opened(
    settings: Settings | None,
    model: torch.nn.Module,
    entries: Mapping[str, str],
    base: Mapping[str, torch.Tensor],
    state: SiteState,
    hub_state: Mapping[str, torch.Tensor] | None,
) -> Method:
    """What a training is asked for. `entries`: names of parameters by entry of the model's state, of which `base` has the values."""
    if settings is None:
        return NOTHING
    parts: list[Part] = []
    if settings.control_variates is not None:  # before what changes gradients: it notes those of the loss
        parts.append(ControlVariates(settings.control_variates, entries, base, state, hub_state))
    if settings.proximal is not None:
        parts.append(Proximal(settings.proximal, {name: base[entry] for entry, name in entries.items()}))
    if settings.full_gradient:
        parts.append(FullGradient(entries))
    if settings.keep_optimizer:
        parts.append(KeptOptimizer(state))
    return Method(parts, model)


NOTHING = Method([])
