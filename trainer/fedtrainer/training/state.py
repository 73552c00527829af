"""What a model's state must be so that it can be sent and averaged. Called by entrypoint.py once per process, by session.py after training.

A tensor that cannot travel is refused by name, with the way out; a buffer that is an expanded view becomes a tensor of
its own, because nothing can be written into the view.
"""

from collections.abc import Mapping

import torch

from fedtrainer.errors import TaskInvalidError
from fedtrainer.training.tensors import DTYPES


def prepare(model: torch.nn.Module) -> None:
    """Checks the state of a new model. TaskInvalidError names the first tensor that cannot travel."""
    for name, value in [*model.named_parameters(), *model.named_buffers()]:
        if torch.nn.parameter.is_lazy(value):
            raise _wrong(name, "has no shape yet", "give its layer the sizes, or run one batch through it in model()")
    if not any(p.numel() for p in model.parameters()):
        raise TaskInvalidError("model() has no parameters: there is nothing to train; register layers as attributes")
    _own_memory(model)
    check(model.state_dict())


def check(state: Mapping[str, object]) -> None:
    """TaskInvalid names the first entry of a state_dict() that cannot travel."""
    for name, value in state.items():
        _check_name(name)
        _check(name, value)


def check_finite(model: torch.nn.Module) -> None:
    """TaskInvalid when a parameter is not finite. Buffers may hold infinities that stay, a mask for example."""
    for name, value in model.named_parameters():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise _wrong(
                name, "is not finite at initialization", "initialize it, or, when it is a constant, use register_buffer"
            )


def parameters(model: torch.nn.Module, state: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Names of parameters, by the entries of a state_dict() that hold them; what is not here is a buffer. Of a model on the CPU.

    A parameter is known by its name, since a state_dict() of the task's own may give copies; under another name, as of a
    tied or renamed one, by its memory.
    """
    first = {id(parameter): name for name, parameter in model.named_parameters()}
    named = {n: first[id(p)] for n, p in model.named_parameters(remove_duplicate=False)}
    memory = {parameter.data_ptr(): first[id(parameter)] for parameter in model.parameters()}
    found = {entry: named.get(entry) or memory.get(tensor.data_ptr()) for entry, tensor in state.items()}
    return {entry: name for entry, name in found.items() if name is not None}


def _check_name(name: object) -> None:
    """Of what a file of tensors can hold."""
    try:
        fits = isinstance(name, str) and name != "__metadata__" and bool(name.encode())
    except UnicodeEncodeError:
        fits = False
    if not fits:
        raise TaskInvalidError(
            f"model(): state {name!r} has a name that cannot be sent: rename it, to visible characters"
        )


def _check(name: str, value: object) -> None:
    if not isinstance(value, torch.Tensor):
        raise TaskInvalidError(f"model(): state {name!r} is a {type(value).__name__}: only tensors can be averaged")
    if value.is_meta:
        raise _wrong(name, "is on the device meta", "make it with values, for example with to_empty() and an init")
    if value.is_quantized:
        raise _wrong(name, "is quantized", "train the model as it is before quantization")
    if value.is_nested or value.layout != torch.strided:
        raise _wrong(name, f"has the layout {value.layout}", "use a dense tensor, for example to_dense()")
    if value.is_complex():
        raise _wrong(name, f"is {value.dtype}", "keep torch.view_as_real() of it, and use view_as_complex() in forward")
    if value.dtype not in DTYPES:
        raise _wrong(name, f"is {value.dtype}", f"use {', '.join(map(str, DTYPES))}")
    if value.is_inference():
        raise _wrong(name, "was made in inference mode", "build the model outside torch.inference_mode()")


def _own_memory(model: torch.nn.Module) -> None:
    """Expanded buffers get memory of their own; those that modules share stay shared."""
    for name, parameter in model.named_parameters():
        if _expanded(parameter):
            raise _wrong(name, "is an expanded view", "use .clone(), or keep the small tensor and expand it in forward")
    made: dict[int, torch.Tensor] = {}
    for module in model.modules():
        for name, buffer in module._buffers.items():  # noqa: SLF001 - setattr would go through the user's own
            if buffer is not None and _expanded(buffer):
                own = made.setdefault(id(buffer), buffer.contiguous())
                module._buffers[name] = own  # noqa: SLF001


def _expanded(tensor: torch.Tensor) -> bool:
    """Whether several elements are in one place of memory."""
    if tensor.layout != torch.strided or tensor.is_nested:
        return False
    return any(stride == 0 and size > 1 for stride, size in zip(tensor.stride(), tensor.shape, strict=True))


def _wrong(name: str, what: str, way_out: str) -> TaskInvalidError:
    return TaskInvalidError(f"model(): tensor {name!r} {what}: {way_out}")
