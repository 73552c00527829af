"""The mean of gradients over the steps of a round, for the methods that need it. Used by the modules beside it.

A running mean: of one step it is that step's gradient to the bit, and it overflows no sooner than they do.
"""

import torch

from fedtrainer.training.methods.part import Step, Tensors

_NARROW = (torch.float16, torch.bfloat16)


def working(tensor: torch.Tensor) -> torch.dtype:
    """The type in which hub and sites compute with a parameter."""
    return torch.float32 if tensor.dtype in _NARROW else tensor.dtype


class MeanGradient:
    """Of each parameter that was ever in a step, by its name; a step that does not reach it has the gradient zero."""

    def __init__(self) -> None:
        self.values: Tensors = {}

    def add(self, step: Step, share: float) -> None:
        """`share`: how much of all so far this step is, 1 for the first."""
        for name, parameter in step.parameters.items():
            mean, gradient = self.values.get(name), step.gradient(name)
            if mean is None:
                mean = self.values[name] = torch.zeros_like(parameter, dtype=working(parameter))
            elif mean.device != parameter.device:  # from a checkpoint
                mean = self.values[name] = mean.to(parameter.device)
            if gradient is None:
                mean.mul_(1.0 - share)
            else:
                mean.lerp_(gradient.to(mean.dtype), share)
