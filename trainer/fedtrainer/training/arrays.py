"""Data as people have it, as tensors: numpy arrays, tables with `__array__`, lists of arrays or numbers.

Called by batches.py; messages elsewhere name what was given by `form`. TaskInvalidError says what to give instead of what
torch cannot hold.
"""

from typing import Any

import numpy as np
import torch

from fedtrainer.errors import TaskInvalidError

KINDS = "biuf"  # of numpy: bool, integers, real numbers
_WIDE_UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)  # torch computes little with them


def pair(part: Any, name: str) -> Any:
    """(inputs, targets) as a tuple of tensors, where a part of Data is a pair of columns; else the part as it is."""
    if not (isinstance(part, list | tuple) and len(part) == 2 and not hasattr(part, "_fields")):
        return part
    lists = isinstance(part, tuple)  # a list of two lists is two samples
    if not all(_is_array(column) or (lists and isinstance(column, list)) for column in part):
        return part
    return tuple(_tensor(column, f"{name}: {what}") for column, what in zip(part, ("inputs", "targets"), strict=True))


def form(value: Any) -> str:
    """What something is, for a message: type, and for tensors and arrays also dtype and shape."""
    if isinstance(value, torch.Tensor | np.ndarray):
        return f"{type(value).__name__} of {value.dtype}{list(value.shape)}"
    if isinstance(value, list | tuple) and len(value) <= 4:
        return f"{type(value).__name__} of {', '.join(type(item).__name__ for item in value) or 'nothing'}"
    return type(value).__name__


def _is_array(value: Any) -> bool:
    return isinstance(value, torch.Tensor) or hasattr(value, "__array__")


def _tensor(column: Any, what: str) -> torch.Tensor:
    if isinstance(column, torch.Tensor):
        return _dense(column, what)
    if isinstance(column, list) and column and all(isinstance(item, torch.Tensor) for item in column):
        if len({(item.shape, item.dtype) for item in column}) > 1:
            raise TaskInvalidError(
                f"{what} is a list of tensors of unequal shape or type: pad them, or use a torch Dataset"
            )
        return torch.stack(column)
    return torch.from_numpy(_array(column, what))


def _dense(tensor: torch.Tensor, what: str) -> torch.Tensor:
    if tensor.is_nested or tensor.layout != torch.strided:
        raise TaskInvalidError(
            f"{what} is a tensor without the layout of an array: give to_dense(), or pad what is nested"
        )
    return tensor.long() if tensor.dtype in _WIDE_UNSIGNED else tensor


def _array(column: Any, what: str) -> np.ndarray[Any, Any]:
    """In memory order, writable, of the machine's byte order: all that torch takes over without a copy."""
    try:
        array = np.asarray(column)
    except Exception as error:
        raise TaskInvalidError(f"{what}: {form(column)} makes no array ({error}): give items of equal shape") from error
    if np.ma.is_masked(column):
        raise TaskInvalidError(
            f"{what} has masked values: fill them in, for example with filled(), or leave the samples out"
        )
    if array.dtype.kind not in KINDS or array.dtype.itemsize > 8:
        raise TaskInvalidError(
            f"{what} has the type {array.dtype}: give numbers; of text or categories their numbers from 0, of dates a "
            "number of seconds or days"
        )
    kind = array.dtype.newbyteorder("=")
    if isinstance(column, list) and kind == np.float64 and not _holds_arrays(column):
        kind = np.dtype(np.float32)  # Python's own numbers: torch's default
    elif kind.kind == "u" and kind.itemsize > 1:
        kind = np.dtype(np.int64)
    return np.require(array.astype(kind, copy=False), requirements=["C", "W"])


def _holds_arrays(values: list[Any]) -> bool:
    return any(hasattr(value, "__array__") for value in values)
