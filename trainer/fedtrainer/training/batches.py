"""Local data by index: pairs of tensors, or torch Datasets. Called by loop.py, steps.py and session.py.

Order comes from the generator alone, so that all ranks of a site find the same batches. Arrays and lists become tensors
in arrays.py before anything else here sees them.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.utils.data import IterableDataset, default_collate

from fedtrainer.errors import TaskInvalidError
from fedtrainer.training import arrays

Batch = tuple[Any, Any]


def part_of(part: Any, name: str) -> Any:
    """A part of Data as the functions here take it: a pair of tensors of equal length, or a Dataset with a length.

    TaskInvalidError says what to give when it is neither.
    """
    part = arrays.pair(part, f"data().{name}")
    if _is_pair(part):
        if any(column.dim() == 0 for column in part):
            raise TaskInvalidError(f"data().{name}: inputs and targets need a first dimension, the samples")
        if len(part[0]) != len(part[1]):
            raise TaskInvalidError(
                f"data().{name}: {len(part[0])} inputs but {len(part[1])} targets: return tensors of equal length"
            )
        return part
    wrong = isinstance(part, IterableDataset | Mapping | str | bytes) or not (
        hasattr(part, "__len__") and hasattr(part, "__getitem__")
    )
    if wrong or (isinstance(part, tuple) and not all(isinstance(item, list | tuple) for item in part)):
        raise TaskInvalidError(
            f"data().{name} is a {arrays.form(part)}: return a torch Dataset with a length, whose items are pairs "
            "(input, target), or a pair of tensors or arrays (inputs, targets); of a DataLoader its dataset"
        )
    return part


def size(part: Any, name: str) -> int:
    """Samples in a part of Data. TaskInvalidError when it is neither a Dataset nor a pair of equal length."""
    return 0 if part is None else len_of(part_of(part, name))


def len_of(part: Any) -> int:
    """Samples of what `part_of` returned."""
    return len(part[0]) if _is_pair(part) else len(part)


def shuffled(part: Any, generator: torch.Generator) -> torch.Tensor:
    """Positions of all samples in the order of an epoch."""
    if not _is_pair(part):  # torch's DataLoader draws a number first: the order is the one that it would take
        torch.empty((), dtype=torch.int64).random_(generator=generator)
    return torch.randperm(len_of(part), generator=generator)


def take(part: Any, index: torch.Tensor | range) -> Batch:
    """The samples at these positions as (inputs, targets)."""
    if _is_pair(part):
        chosen = slice(index.start, index.stop) if isinstance(index, range) else index
        return part[0][chosen], part[1][chosen]
    positions = list(index) if isinstance(index, range) else index.tolist()
    many = getattr(part, "__getitems__", None)
    items = many(positions) if many else [part[position] for position in positions]
    batch = _collated(items)
    if not isinstance(batch, list | tuple) or len(batch) != 2:
        raise TaskInvalidError("data(): a Dataset's items must be pairs (input, target); or write train and evaluate")
    return batch[0], batch[1]


def fitting(value: Any, real: torch.dtype | None) -> Any:
    """Inputs with their real numbers in the model's type, so that float64 data fits a float32 model."""
    if real is None:
        return value
    return moved(value, lambda tensor: tensor.to(real) if tensor.is_floating_point() else tensor)


def real_type(model: torch.nn.Module) -> torch.dtype | None:
    """The one type of a model's real parameters; None when it has several, and so its own way with them."""
    found = {parameter.dtype for parameter in model.parameters() if parameter.is_floating_point()}
    return found.pop() if len(found) == 1 else None


def moved(value: Any, place: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """The value with all its tensors placed."""
    if isinstance(value, torch.Tensor):
        return place(value)
    if isinstance(value, dict):
        return {key: moved(item, place) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(moved(item, place) for item in value))
    if isinstance(value, list | tuple):
        return type(value)(moved(item, place) for item in value)
    return value


def _collated(items: Any) -> Any:
    try:
        return default_collate(items)
    except (TypeError, RuntimeError) as error:
        raise TaskInvalidError(
            f"data(): items of the Dataset do not make a batch ({error}): return pairs (input, target) of tensors, "
            "arrays or numbers, of equal shape; of a picture, its values as an array"
        ) from error


def _is_pair(part: Any) -> bool:
    return isinstance(part, tuple) and len(part) == 2 and all(isinstance(x, torch.Tensor) for x in part)
