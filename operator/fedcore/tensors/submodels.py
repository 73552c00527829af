"""Sub-models: the tensors of a model at a smaller width, each the leading slice of the whole one in some dimensions. Pure.

Which tensors are smaller at which width only the task knows; who makes the initial model says it in the metadata, under
WIDTHS: `{"0.5": {"name": [shape], …}}`, with the tensors that are smaller and no others. The hub reads it by `widths`, and
judges and folds updates by `sliced`. Where the items of a slice are in the whole tensor is in slices.py.
Called by the trainer's init step, and by the engine.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from fedapi.jsonvalue import Json
from fedcore.tensors.arithmetic import FLOATS
from fedcore.tensors.tensorfile import METADATA, MalformedTensorFileError, Tensor, TensorFile

WIDTHS = "widths"
Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]  # of the tensors that are smaller
Widths = Mapping[float, Shapes]


def said(widths: Widths) -> Json:
    """As metadata has it."""
    return {str(width): {name: list(shape) for name, shape in shapes.items()} for width, shapes in widths.items()}


def widths(table: TensorFile) -> Widths:
    """The widths of an initial model; MalformedTensorFileError where what it says makes no sub-models of it."""
    told, found = table.said.get(WIDTHS, {}), dict[float, Shapes]()
    if not isinstance(told, dict):
        raise MalformedTensorFileError(f"metadata {METADATA!r}: {WIDTHS} is no JSON object")
    tensors = table.by_name()
    for text, shapes in told.items():
        width = _width(text)
        if not isinstance(shapes, dict):
            raise MalformedTensorFileError(f"metadata {METADATA!r}: width {text!r} is no JSON object of shapes")
        if wrong := misshapen(tensors, shapes):
            raise MalformedTensorFileError(f"at width {text}, {wrong}")
        found[width] = {name: tuple(shape) for name, shape in shapes.items()}
    return found


def misshapen(tensors: Mapping[str, Tensor], shapes: Mapping[str, Any]) -> str:
    """What is no leading slice of a float tensor of the model; empty when all are."""
    for name, shape in sorted(shapes.items()):
        whole = tensors.get(name)
        if whole is None:
            return f"tensor {name[:64]!r} is none of the whole model"
        if whole.dtype not in FLOATS:
            return f"tensor {name!r} is smaller, and {whole.dtype}: floats alone can be sliced, keep it whole"
        if not isinstance(shape, list | tuple) or not _leads(shape, whole.shape):
            text = f"tensor {name!r} is {list(shape) if isinstance(shape, list | tuple) else shape}, which is no leading slice"
            return f"{text} of {list(whole.shape)}: as many dimensions, each from 1 to the whole one's"
    return ""


def sliced(table: TensorFile, shapes: Shapes) -> TensorFile:
    """The tensors of a sub-model: names and types of these, whose own file's offsets do not hold for it."""
    return replace(table, tensors=tuple(_sliced(tensor, shapes) for tensor in table.tensors))


def unknown(known: Iterable[float], width: float) -> str:
    """The words for a width of which the job's initial model does not say what it leaves."""
    those = ", ".join(map(str, sorted(known))) or "none"
    return (
        f"modelWidth {width} is none of those that the job's initial model was made with ({those}): give the override one "
        "of them, or make the job anew"
    )


def _sliced(tensor: Tensor, shapes: Shapes) -> Tensor:
    shape = shapes.get(tensor.name, tensor.shape)
    if shape == tensor.shape:
        return tensor
    size = tensor.end - tensor.begin
    for part, whole in zip(shape, tensor.shape, strict=True):
        size = size // whole * part
    return replace(tensor, shape=shape, end=tensor.begin + size)


def _leads(shape: Any, whole: Shape) -> bool:
    numbers = all(type(part) is int for part in shape)
    return numbers and len(shape) == len(whole) and all(0 < part <= of for part, of in zip(shape, whole, strict=True))


def _width(text: str) -> float:
    try:
        width = float(text)
    except ValueError:
        width = 0.0
    if not 0 < width < 1:
        raise MalformedTensorFileError(f"metadata {METADATA!r}: width {text[:32]!r} is not over 0 and below 1")
    return width
