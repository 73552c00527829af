"""Local data by index: pairs of tensors, or torch Datasets. Called by loop.py and steps.py.

Order comes from the generator alone, so that all ranks of a site find the same batches.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.data import IterableDataset, default_collate

from fedtrainer.errors import TaskInvalid

Batch = tuple[Any, Any]


def size(part: Any, name: str) -> int:
    """Samples in a part of Data. TaskInvalid when it is neither a Dataset nor a pair of tensors of equal length."""
    if part is None:
        return 0
    if _is_pair(part):
        if len(part[0]) != len(part[1]):
            raise TaskInvalid(
                f"data().{name}: {len(part[0])} inputs but {len(part[1])} targets: return tensors of equal length"
            )
        return len(part[0])
    if isinstance(part, IterableDataset) or not (hasattr(part, "__len__") and hasattr(part, "__getitem__")):
        raise TaskInvalid(
            f"data().{name} is a {type(part).__name__}: return a torch Dataset with a length, or a pair of tensors"
        )
    return len(part)


def shuffled(part: Any, generator: torch.Generator) -> torch.Tensor:
    """Positions of all samples in the order of an epoch."""
    if not _is_pair(part):  # torch's DataLoader draws a number first: the order is the one that it would take
        torch.empty((), dtype=torch.int64).random_(generator=generator)
    return torch.randperm(len(part[0]) if _is_pair(part) else len(part), generator=generator)


def take(part: Any, index: torch.Tensor | range) -> Batch:
    """The samples at these positions as (inputs, targets)."""
    if _is_pair(part):
        chosen = slice(index.start, index.stop) if isinstance(index, range) else index
        return part[0][chosen], part[1][chosen]
    positions = list(index) if isinstance(index, range) else index.tolist()
    many = getattr(part, "__getitems__", None)
    batch = default_collate(many(positions) if many else [part[position] for position in positions])
    if not isinstance(batch, list | tuple) or len(batch) != 2:
        raise TaskInvalid("data(): a Dataset's items must be pairs (input, target); or write train and evaluate")
    return batch[0], batch[1]


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


def _is_pair(part: Any) -> bool:
    return isinstance(part, tuple) and len(part) == 2 and all(isinstance(x, torch.Tensor) for x in part)
