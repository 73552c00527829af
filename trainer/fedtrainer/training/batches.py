"""Local data as batches of (inputs, targets): pairs of tensors by index, torch Datasets by DataLoader.

Called by loop.py. Order comes from the generator alone.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset

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


def batches(part: Any, batch_size: int, device: str, order: torch.Generator | None = None) -> Iterator[Batch]:
    """All samples once: shuffled by `order`, or in their own order without one."""
    if part is None:
        return
    source = _of_pair(part, batch_size, order) if _is_pair(part) else _of_dataset(part, batch_size, order)
    for inputs, targets in source:
        yield _moved(inputs, device), _moved(targets, device)


def _is_pair(part: Any) -> bool:
    return isinstance(part, tuple) and len(part) == 2 and all(isinstance(x, torch.Tensor) for x in part)


def _of_pair(
    part: tuple[torch.Tensor, torch.Tensor], batch_size: int, order: torch.Generator | None
) -> Iterator[Batch]:
    inputs, targets = part
    if order is None:
        yield from zip(inputs.split(batch_size), targets.split(batch_size), strict=True)
        return
    for index in torch.randperm(len(inputs), generator=order).split(batch_size):
        yield inputs[index], targets[index]


def _of_dataset(part: Any, batch_size: int, order: torch.Generator | None) -> Iterator[Batch]:
    for batch in DataLoader(part, batch_size=batch_size, shuffle=order is not None, generator=order):
        if not isinstance(batch, list | tuple) or len(batch) != 2:
            raise TaskInvalid("data(): a Dataset's items must be pairs (input, target); or write train and evaluate")
        yield batch[0], batch[1]


def _moved(value: Any, device: str) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, dict):
        return {key: _moved(item, device) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_moved(item, device) for item in value)
    return value
