"""What each part of a method is, and what it is told with each step. Implemented by the modules beside it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Step:
    """Gradients of a batch, as they are for all ranks, before the optimizer takes them."""

    parameters: Mapping[str, torch.nn.Parameter]  # those that the optimizer steps, by their name in the model
    optimizer: torch.optim.Optimizer
    samples: int  # of the batch, all ranks together
    number: int  # of this step in the round, from 1
    so_far: int  # samples of all steps in the round, this one included

    def gradient(self, name: str) -> torch.Tensor | None:
        """A parameter's gradient, dense; None where the batch has not reached it."""
        gradient = self.parameters[name].grad
        return gradient.to_dense() if gradient is not None and gradient.is_sparse else gradient


@dataclass
class Made:
    """What parts add to an update, by entries of the model's state."""

    instead: Tensors = field(default_factory=dict)  # sent in place of local - base
    payloads: dict[str, Tensors] = field(default_factory=dict)  # sent beside the update


class Part(Protocol):
    """One method. `correct` is called without recording gradients."""

    def correct(self, step: Step) -> None:
        """Reads the step's gradients, or changes them."""

    def kept(self) -> Tensors:
        """What a checkpoint of this training must hold, besides how many steps and samples there were."""

    def restore(self, kept: Tensors) -> None:
        """Goes on from it."""

    def finish(self, made: Made) -> None:
        """The training is over: what it is to send, and to keep at the site."""
