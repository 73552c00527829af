"""Reads a model that comes encoded (docs/compression.md): the same bits at every site, and as the hub would read it.

Called by session.py at rank 0, for a file whose SHA-256 was verified. Each tensor is decoded as a whole, in strict float32
arithmetic, and is this process's own memory. The form of such files is fedcore's (compression/fileform.py).
"""

import logging
from pathlib import Path

import numpy as np
import torch

from fedapi.wire.compression import Encoding
from fedcore.compression import fileform
from fedcore.compression.codec import MalformedEncodingError
from fedcore.compression.fileform import Coded
from fedcore.tensors import arithmetic, tensorfile
from fedcore.tensors.arithmetic import Array
from fedcore.tensors.tensorfile import ITEM_BYTES, PREFIX_BYTES, MalformedTensorFileError, Tensor, TensorFile
from fedtrainer.errors import TaskInvalidError
from fedtrainer.training import tensors
from fedtrainer.training.exchange import Exchange

log = logging.getLogger(__name__)

_STEP_ITEMS = 1 << 16  # decoded at once: they stay in the processor's cache


def model(
    path: Path, encoding: Encoding, initial: Path | None, ours: tensors.Tensors, exchange: Exchange
) -> dict[str, torch.Tensor]:
    """What a job's model decodes to. It has the tensors that travel, in the shapes of the initial model where there is one."""
    whole = tensors.read(initial) if initial else ours
    like = {name: value for name, value in whole.items() if exchange.travels(name)}
    plain, size = tensors.plain_size(like), path.stat().st_size
    log.info("%s: the model is %d bytes instead of %d, %.2f times smaller", encoding.codec, size, plain, plain / size)
    return read(path, like, encoding)


def read(path: Path, like: tensors.Tensors, encoding: Encoding) -> dict[str, torch.Tensor]:
    """All tensors of the file, decoded. TaskInvalidError where they are not those of `like`, so encoded."""
    content: Array = np.memmap(path, np.uint8, "r")
    try:
        _, form = fileform.formed(tensors.table(like), _table(content), encoding.codec)
        return {name: _tensor(content, where, encoding).reshape(like[name].shape) for name, where in form.items()}
    except (MalformedTensorFileError, MalformedEncodingError) as error:
        raise TaskInvalidError(
            f"the job's model, encoded by {encoding.codec}, is not that of model(): {error}: model() must give the same names, "
            "shapes and types every time and at every site; a changed model needs a new job"
        ) from error


def _table(content: Array) -> TensorFile:
    size = tensorfile.header_size(content[:PREFIX_BYTES].tobytes(), content.size)
    return tensorfile.parsed(content[PREFIX_BYTES : PREFIX_BYTES + size].tobytes(), content.size)


def _tensor(content: Array, where: Coded | Tensor, encoding: Encoding) -> torch.Tensor:
    if isinstance(where, Tensor):
        return _of(where.dtype, content[where.begin : where.end].copy())
    kind, codec = where.kind, fileform.codec_of(encoding)

    def read(index: int, first: int, items: int) -> Array:
        part = where.parts[index]
        item = ITEM_BYTES[part.dtype]
        begin = part.begin + first * item
        return arithmetic.stored(part.dtype, content[begin : begin + items * item])

    known = codec.index(read, kind, encoding)
    made = np.empty(kind.items, arithmetic.stored(kind.dtype, b"").dtype)
    room = np.empty(min(_STEP_ITEMS, kind.items), np.float32)
    for at in range(0, kind.items, _STEP_ITEMS):
        out = made[at : at + _STEP_ITEMS]
        floats = out if kind.dtype == "F32" else room[: out.size]
        codec.decode(read, known, at, floats)
        if kind.dtype != "F32":
            out[:] = arithmetic.encoded(kind.dtype, floats)
    return _of(kind.dtype, made.view(np.uint8))


def _of(dtype: str, raw: Array) -> torch.Tensor:
    kind = tensors.BY_KIND[dtype]
    return torch.from_numpy(raw).view(kind) if raw.size else torch.empty(0, dtype=kind)
