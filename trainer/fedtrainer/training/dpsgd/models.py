"""Which models DP-SGD can train: each record's gradient must be its own. Called once per training, before its first step."""

from collections.abc import Mapping

import torch
from opacus.validators import ModuleValidator
from torch.nn.modules.batchnorm import _BatchNorm

from fedtrainer.errors import TaskInvalidError

_WAYS_OUT = {
    torch.nn.LSTM: "use opacus.layers.DPLSTM, which has the same arguments",
    torch.nn.GRU: "use opacus.layers.DPGRU, which has the same arguments",
    torch.nn.RNN: "use opacus.layers.DPRNN, which has the same arguments",
    torch.nn.MultiheadAttention: "use opacus.layers.DPMultiheadAttention, which has the same arguments",
}
_NORM = "it makes a record's gradient depend on the others of its batch: use GroupNorm or LayerNorm"
_TYPES = (torch.float32, torch.float64)


def check(model: torch.nn.Module) -> None:
    """TaskInvalidError names the first layer or parameter that it cannot train, and the way out."""
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm) and (module.training or module.running_mean is None):
            raise _refused(name, module, _NORM)
        trains = any(parameter.requires_grad for parameter in module.parameters(recurse=False))
        if not (trains or type(module) in _WAYS_OUT) or type(module) not in ModuleValidator.VALIDATORS:
            continue
        for error in ModuleValidator.VALIDATORS[type(module)](module):
            raise _refused(name, module, _WAYS_OUT.get(type(module), str(error).strip()))
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and parameter.dtype not in _TYPES:
            raise TaskInvalidError(
                f"privacy.dpSGD: parameter {name!r} is {parameter.dtype}, in which gradients cannot be clipped well enough: use "
                "float32"
            )


def check_buffers(now: Mapping[str, torch.Tensor], before: Mapping[str, torch.Tensor]) -> None:
    """TaskInvalidError for a buffer that the training has changed: it would be sent, and no noise is on it."""
    for name, value in now.items():
        if not torch.equal(value.cpu(), before[name].cpu()):
            raise TaskInvalidError(
                f"privacy.dpSGD: the training has changed the buffer {name!r}, which no noise hides: keep what is of the data out "
                "of the model's state (register_buffer(..., persistent=False)), or keep the layer from tracking it"
            )


def _refused(name: str, module: torch.nn.Module, why: str) -> TaskInvalidError:
    where = f"the layer {name!r}" if name else "the model"
    return TaskInvalidError(f"privacy.dpSGD cannot train {where} ({type(module).__name__}): {why}")
