"""The next model of one that is there and an encoded delta: how hub and sites make it, to the same bits. Pure.

EF21-P (Gruntkowska et al. 2023, algorithm 1): with x the committed model, w the one before as sites have it and C a codec,
w' = w + C(x - w). What C leaves out stays in x - w', and so in the next delta: no memory beside w is needed. `difference` is what
the engine encodes, `added` what it and the trainer make of it: one add of float32 (of float64 where the tensor is that) and one
rounding to the tensor's type. Tensors that are not encoded are in the file as they are.
"""

from collections.abc import Callable, Iterator

import numpy as np

from fedapi.wire.compression import Encoding
from fedcore.compression import fileform
from fedcore.compression.codec import EncodingError, MalformedEncodingError
from fedcore.compression.fileform import Coded, Form
from fedcore.tensors import arithmetic, tensorfile
from fedcore.tensors.arithmetic import Array
from fedcore.tensors.tensorfile import ITEM_BYTES, Tensor, TensorFile

ReadInto = Callable[[memoryview, int], None]  # fills a buffer with the bytes of a file from an offset on
STEP_ITEMS = 1 << 16  # at once: they stay in the processor's cache; a page of TopK
_STEP_BYTES = 1 << 20


def difference(dtype: str, model: Array, before: Array) -> Array:
    """Stored items less stored items, as float32. EncodingError where that is no number: a mask of infinities."""
    with np.errstate(over="ignore", invalid="ignore"):
        found = (_working(dtype, model) - _working(dtype, before)).astype("<f4", copy=False)
    if not arithmetic.finite("F32", found):
        raise EncodingError("a difference is NaN or infinite")
    return found


def added(
    before: ReadInto, table: TensorFile, delta: ReadInto, file: TensorFile, codec: str
) -> Iterator[tuple[Tensor, Iterator[Array]]]:
    """The bytes of the next model's tensors, in canonical order, from two open files whose tensors travel all.

    `table`, `file`: theirs. MalformedEncodingError where the delta is none to the model.
    """
    ordered = tensorfile.canonical_header(table.tensors)[1].tensors
    own = table.by_name()
    encoding, form = fileform.formed(TensorFile(0, tuple(own[tensor.name] for tensor in ordered)), file, codec)
    for tensor in ordered:
        yield tensor, _tensor(own[tensor.name], before, delta, form, encoding)


def _tensor(own: Tensor, before: ReadInto, delta: ReadInto, form: Form, encoding: Encoding) -> Iterator[Array]:
    where = form[own.name]
    if isinstance(where, Tensor):
        return _plain(where, delta)
    return _sums(own, before, delta, where, encoding)


def _plain(where: Tensor, delta: ReadInto) -> Iterator[Array]:
    for begin in range(where.begin, where.end, _STEP_BYTES):
        yield _bytes(delta, begin, min(_STEP_BYTES, where.end - begin))


def _sums(own: Tensor, before: ReadInto, delta: ReadInto, where: Coded, encoding: Encoding) -> Iterator[Array]:
    codec, item = fileform.codec_of(encoding), ITEM_BYTES[own.dtype]

    def read(index: int, first: int, items: int) -> Array:
        part = where.parts[index]
        size = ITEM_BYTES[part.dtype]
        return arithmetic.stored(part.dtype, _bytes(delta, part.begin + first * size, items * size))

    try:
        known = codec.index(read, where.kind, encoding)
        for at in range(0, where.kind.items, STEP_ITEMS):
            change = np.empty(min(STEP_ITEMS, where.kind.items - at), np.float32)
            codec.decode(read, known, at, change)
            held = arithmetic.stored(own.dtype, _bytes(before, own.begin + at * item, change.size * item))
            with np.errstate(over="ignore"):
                total = _working(own.dtype, held) + change
                yield arithmetic.encoded(own.dtype, total).view(np.uint8)
    except MalformedEncodingError as error:
        raise MalformedEncodingError(f"tensor {own.name!r}: {error}") from error


def _working(dtype: str, items: Array) -> Array:
    return arithmetic.decoded(dtype, items, np.empty(items.size, np.float32))


def _bytes(read_into: ReadInto, begin: int, size: int) -> Array:
    room = np.empty(size, np.uint8)
    read_into(room.data, begin)
    return room
