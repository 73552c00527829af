"""What an encoded file of tensors looks like beside the plain one: the same container, some tensors as their parts. Pure.

Each tensor of the base is there as it is, or as the parts that its codec makes of it, in the base's order; who encodes decides
(`worth`). The metadata says the codec and what a decoder has to know. A file is compared with what is expected of it before
anything of it is decoded: names, types, shapes, and so every size. Called by the trainer and by the engine.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from fedapi.wire.compression import Encoding
from fedcore.compression.codec import Codec, Kind, MalformedEncodingError
from fedcore.compression.table import CODECS
from fedcore.tensors import tensorfile
from fedcore.tensors.arithmetic import FLOATS
from fedcore.tensors.tensorfile import ITEM_BYTES, Tensor, TensorFile

SMALL = 1024  # items: what fewer of them are, biases mostly, is not worth parts of its own


@dataclass(frozen=True)
class Coded:
    """A tensor of the base, and where its parts are."""

    kind: Kind
    parts: tuple[Tensor, ...]


Form = Mapping[str, Coded | Tensor]  # by name, in the base's order: parts, or the tensor as it is


def kind_of(tensor: Tensor) -> Kind:
    """The tensor as codecs see it."""
    return Kind(tensor.dtype, tensor.shape, math.prod(tensor.shape))


def parts_of(tensor: Tensor, encoding: Encoding) -> tuple[Tensor, ...]:
    """What the codec makes of it; where they lie is not said yet."""
    return tuple(
        Tensor(f"{tensor.name}{part.suffix}", part.dtype, part.shape, 0, math.prod(part.shape) * ITEM_BYTES[part.dtype])
        for part in codec_of(encoding).parts(kind_of(tensor), encoding)
    )


def codec_of(encoding: Encoding) -> Codec:
    """The codec that an encoding names."""
    return CODECS[encoding.codec]


def worth(tensors: Iterable[Tensor], among: frozenset[str], encoding: Encoding) -> frozenset[str]:
    """Which of `among` are encoded: floats, not too small, that get smaller, and whose parts have no other tensor's name."""
    tensors = tuple(tensors)
    names = {tensor.name for tensor in tensors}
    return frozenset(t.name for t in tensors if t.name in among and _is_worth(t, names - {t.name}, encoding))


def _is_worth(tensor: Tensor, others: set[str], encoding: Encoding) -> bool:
    if tensor.dtype not in FLOATS or kind_of(tensor).items < SMALL:
        return False
    parts = parts_of(tensor, encoding)
    smaller = sum(part.end for part in parts) < tensor.end - tensor.begin
    return smaller and others.isdisjoint(part.name for part in parts)


def header(tensors: Iterable[Tensor], encoded: frozenset[str], encoding: Encoding) -> tuple[bytes, TensorFile]:
    """Prefix and header of an encoded file, for tensors in the base's order."""
    parts = [
        part for tensor in tensors for part in (parts_of(tensor, encoding) if tensor.name in encoded else (tensor,))
    ]
    return tensorfile.header(parts, json.dumps(encoding.model_dump(exclude_none=True)))


def formed(base: TensorFile, file: TensorFile, codec: str) -> tuple[Encoding, Form]:
    """How a file has each tensor of the base; MalformedEncodingError says what it has not, or has beside."""
    encoding = _said(file, codec)
    given: dict[str, Tensor] = file.by_name()
    found: dict[str, Coded | Tensor] = {}
    for tensor in base.tensors:
        there = given.pop(tensor.name, None)
        if there is not None and there.kind == tensor.kind:
            found[tensor.name] = there
            continue
        if there is not None:
            given[tensor.name] = there
        found[tensor.name] = _coded(tensor, given, encoding)
    if given:
        raise MalformedEncodingError(f"tensors not in the base: {sorted(given)[:5]}")
    return encoding, found


def _coded(tensor: Tensor, given: dict[str, Tensor], encoding: Encoding) -> Coded:
    expected = parts_of(tensor, encoding) if tensor.dtype in FLOATS else (tensor,)
    parts = tuple(given.pop(part.name, None) for part in expected)
    for part, there in zip(expected, parts, strict=True):
        if there is None:
            raise MalformedEncodingError(f"tensors missing: [{part.name!r}]")
        if there.kind != part.kind or tensor.dtype not in FLOATS:
            got, wanted = (f"{each.dtype}{list(each.shape)}" for each in (there, part))
            raise MalformedEncodingError(
                f"tensor {part.name!r} is {got}, by the base and {encoding.codec} it is {wanted}"
            )
    return Coded(kind_of(tensor), tuple(part for part in parts if part is not None))


def _said(file: TensorFile, codec: str) -> Encoding:
    try:
        encoding = Encoding.model_validate(file.said)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        raise MalformedEncodingError(
            f"its metadata says no codec: {where + ': ' if where else ''}{fault['msg']}"
        ) from error
    if encoding.codec != codec:
        raise MalformedEncodingError(f"its metadata says codec {encoding.codec}, its manifest {codec}")
    return encoding
