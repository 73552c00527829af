"""A site's sub-model: the task's model at a smaller width, whose tensors are leading slices of the whole one's.

The task makes it, in `model(width)`. The init step makes it, too, and says in the initial model which tensors are smaller; a
site compares its own with that before it works, and cuts what it is given to size. Called by initial.py and session.py.
"""

import inspect
from collections.abc import Mapping
from pathlib import Path

import torch

from fedcore.tensors import submodels
from fedcore.tensors.submodels import WIDTHS, Shapes
from fedcore.tensors.tensorfile import Tensor
from fedtrainer.errors import TaskInvalidError
from fedtrainer.training import tensors
from fedtrainer.training.task import Task

WHOLE = 1.0
Values = Mapping[str, torch.Tensor]


def arguments(task: Task, width: float) -> dict[str, float]:
    """What `model()` is called with: the width, where it asks for it. TaskInvalidError where it does not and would need it."""
    if "width" in inspect.signature(task.model).parameters:
        return {"width": width}
    if width != WHOLE:
        raise TaskInvalidError(
            f"clients.overrides.modelWidth is {width}, and the task's model() takes no width: write model(self, width=1.0), "
            "which gives a model with smaller tensors for a smaller width, or take modelWidth out"
        )
    return {}


def smaller(whole: Values, narrow: Values, width: float) -> Shapes:
    """Shapes of the tensors that are smaller at a width. TaskInvalidError names one that makes no sub-model of it."""
    at = f"model(width={width})"
    if different := sorted(whole.keys() ^ narrow.keys()):
        which = "has" if different[0] in narrow else "lacks"
        raise TaskInvalidError(
            f"{at} {which} tensor {different[0]!r}, unlike model(): the same names at every width, in smaller shapes"
        )
    for name, tensor in sorted(narrow.items()):
        if tensor.dtype != whole[name].dtype:
            raise TaskInvalidError(f"{at} has {name} as {tensor.dtype}, model() as {whole[name].dtype}: keep its type")
    found = {name: tuple(t.shape) for name, t in narrow.items() if t.shape != whole[name].shape}
    if wrong := submodels.misshapen(_forms(whole), found):
        raise TaskInvalidError(f"{at}: {wrong}")
    if not found:
        raise TaskInvalidError(
            f"{at} has no smaller tensor than model(): let it make layers narrower, or ranks lower, by its width"
        )
    return found


def agreed(ours: Values, width: float, initial: Path | None) -> None:
    """TaskInvalidError names the first tensor that the site's sub-model has in another shape than the job's initial model says."""
    known = {} if initial is None else tensors.said(initial).get(WIDTHS, {})
    shapes = {float(each): said for each, said in known.items()}
    if width not in shapes:
        raise TaskInvalidError(f"clients.overrides: {submodels.unknown(shapes, width)}")
    whole = {} if initial is None else tensors.read(initial)
    for name, tensor in sorted(ours.items()):
        said = shapes[width].get(name, list(whole[name].shape) if name in whole else None)
        if list(tensor.shape) != said:
            raise TaskInvalidError(
                f"model(width={width}) has {name} as {list(tensor.shape)}, the job's initial model says {said}: model() must "
                "give the same shapes at a width every time and at every site; a changed model needs a new job"
            )


def cut(values: Values, ours: Values) -> dict[str, torch.Tensor]:
    """The leading slices that the site's sub-model has. What is no larger, or has other dimensions, stays: who compares finds it."""
    return {name: _cut(value, ours[name].shape) if name in ours else value for name, value in values.items()}


def check_own(ours: Values, own: Values) -> None:
    """TaskInvalidError where a tensor that stays at the site was trained at another width."""
    for name, value in sorted(own.items()):
        if name in ours and value.shape != ours[name].shape:
            raise TaskInvalidError(
                f"tensor {name!r}, which training.localParameters leaves at this site, is {list(value.shape)} in the site's "
                f"state, and {list(ours[name].shape)} in its model: the site's modelWidth has changed; give it back the one "
                "that it had, or begin anew by the file `reset` in the folder of its state"
            )


def _cut(value: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    if (
        value.shape == shape
        or value.dim() != len(shape)
        or any(part > of for part, of in zip(shape, value.shape, strict=True))
    ):
        return value
    return value[tuple(slice(part) for part in shape)].contiguous()


def _forms(values: Values) -> dict[str, Tensor]:
    return {name: Tensor(name, tensors.DTYPES[value.dtype], tuple(value.shape), 0, 0) for name, value in values.items()}
