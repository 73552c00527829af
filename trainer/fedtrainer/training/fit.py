"""Whether model, loss and batch fit together, in words that say what to give. Used by loop.py, steps.py, parallel.py.

Torch's own errors of types and shapes come again with the same data: they end a site at once, as TaskInvalidError, and name
what met. Errors of any other kind pass.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from fedtrainer.errors import TaskInvalidError
from fedtrainer.training.arrays import form

_ONE_VALUE = re.compile(r"Expected more than 1 value per channel when training")
_ONE_PLACE = re.compile(r"Expected more than 1 spatial element when training")
_UNFIT = re.compile(
    r"expected scalar type|expected .* to have (the same|one of the following scalar) |same dtype|not implemented for '"
    r"|Found dtype|mat1 and mat2|size mismatch|must match the (existing )?size|Target .* is out of bounds"
    r"|target tensor expected|multi-target not supported|shape '.*' is invalid for input|expected .* channels"
    r"|Expected input batch_size|expects? .* tensor.* but got|expected input\[|type .* should be the same|can't be cast"
    r"|index out of range in self|shapes cannot be multiplied|Expected floating point|must be Tensor, not",
    re.IGNORECASE,
)
_WAY_OUT = (
    "inputs should be real numbers (of pictures in bytes: values / 255), or integers where the model begins with an "
    "embedding; targets class numbers from 0 for cross entropy, real numbers in the shape of the outputs otherwise"
)


@contextmanager
def checked(inputs: Any, targets: Any) -> Iterator[None]:
    """Around a forward, a loss and a backward."""
    try:
        yield
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        text = str(error)
        if _ONE_VALUE.search(text):
            raise TaskInvalidError(
                f"{text}: batch normalization needs two samples in every part of a batch; raise training.batchSize, "
                "lower the ranks of the site or training.gradientAccumulationSteps, or give the site more samples"
            ) from error
        if _ONE_PLACE.search(text):
            raise TaskInvalidError(
                f"{text}: instance normalization needs more than one place; give larger inputs"
            ) from error
        if _UNFIT.search(text):
            met = f"inputs {_forms(inputs)}, targets {_forms(targets)}"
            raise TaskInvalidError(f"model, loss and data do not fit ({met}): {text}: {_WAY_OUT}") from error
        raise


def scalar(loss: Any) -> torch.Tensor:
    """A task's loss, which must be one number that gradients come from."""
    if not isinstance(loss, torch.Tensor) or loss.numel() != 1 or loss.is_complex():
        raise TaskInvalidError(f"loss() returned {form(loss)}: return a tensor of one number, the mean over the batch")
    if not loss.requires_grad and torch.is_grad_enabled():
        raise TaskInvalidError("loss() returned a number that does not depend on the model's parameters: no gradient")
    return loss.reshape(())


def single(outputs: object, targets: object) -> None:
    """TaskInvalid where the default loss or metrics meet something else than one tensor of each."""
    for what, value in (("the model's outputs are", outputs), ("targets are", targets)):
        if not isinstance(value, torch.Tensor):
            raise TaskInvalidError(
                f"{what} {form(value)}: the default loss and metrics take one tensor; return one, or write loss() and "
                "metrics()"
            )


def class_numbers(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Integer targets as cross entropy takes them: int64, without a last dimension of one."""
    if targets.dim() == outputs.dim() and targets.shape[1:] == (1, *outputs.shape[2:]) and outputs.shape[1] != 1:
        targets = targets.squeeze(1)
    return targets.long()


def real_targets(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Real targets in the outputs' type."""
    if outputs.numel() != targets.numel():
        raise TaskInvalidError(
            f"targets are {form(targets)} and outputs {form(outputs)}: real targets are fitted by the mean squared error, "
            "number by number; for classes give their numbers, from 0, as integers"
        )
    return targets.to(outputs.dtype)


def least_samples(model: torch.nn.Module) -> int:
    """How few samples a forward in the model's mode takes: two where it normalizes by the statistics of its batch."""
    norms = (m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm))  # noqa: SLF001
    return 2 if any(norm.training or norm.running_mean is None for norm in norms) else 1


def _forms(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_forms(item)}" for key, item in list(value.items())[:8]) + "}"
    if isinstance(value, list | tuple):
        return "(" + ", ".join(_forms(item) for item in value[:8]) + ")"
    return type(value).__name__
