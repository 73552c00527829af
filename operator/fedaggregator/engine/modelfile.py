"""Makes model files: the fold of a round, and the import of the initial model. Blocking; run in a thread.

Memory is a few blocks and one number per tensor and update, whatever the size of the model: files are read with pread
into reused buffers and written as they are made. Same inputs, same bytes, same digest.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from fedaggregator.engine import content
from fedaggregator.engine.content import BLOCK_BYTES
from fedaggregator.errors import AggregatorError, Fatal
from fedapi.outcome import Exit
from fedapi.wire.message import ObjectRef
from fedapi.wire.store import Layout
from fedcore import folding, tensorfile
from fedcore.effects import Fold
from fedcore.tensorfile import MalformedTensorFile, Tensor
from fedstore.objectstore import DIGEST, ObjectStore, Reader


class FoldCancelled(AggregatorError):  # noqa: N818 - the word says the fact
    """The process is stopping; the fold is made anew after the restart."""


@dataclass(frozen=True)
class _Term:
    """An open update: its factor and where each tensor of the base begins in it."""

    weight: Fraction
    reader: Reader
    begins: dict[str, int]


def fold(store: ObjectStore, layout: Layout, order: Fold, cancelled: Callable[[], bool]) -> ObjectRef:
    """The next model's object: base + sum(weight * update) in the order of the terms. No terms: the base itself."""
    if not order.terms:
        return order.base
    with ExitStack() as files:
        base = files.enter_context(store.reader(order.base.key))
        terms = [_opened(files.enter_context(store.reader(t.update.key)), t.weight) for t in order.terms]
        table = content.read_header(base)
        header, new = tensorfile.canonical_header(table.tensors)
        old = table.by_name()
        writer = files.enter_context(store.writer(layout.model(order.round, DIGEST), size=new.size))
        writer.write(header)
        for tensor in new.tensors:
            for block in _folded_blocks(old[tensor.name], base, terms):
                if cancelled():
                    raise FoldCancelled(f"fold of round {order.round} stopped")
                writer.write(block)
        return writer.finish()


def import_initial(store: ObjectStore, layout: Layout, path: Path) -> ObjectRef:
    """Copies the initial model into the store. It must be a tensor file.

    Infinities and NaN are the task's own: constants such as a mask, which a fold leaves as they are. That parameters
    are finite was checked where the model was made, which knows them from buffers.
    """
    with ExitStack() as files:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)  # made by task code: a link leads nowhere
        file = files.enter_context(os.fdopen(fd, "rb", buffering=0))
        writer = files.enter_context(store.writer(layout.model(0, DIGEST)))
        buffer = memoryview(bytearray(BLOCK_BYTES))
        while count := file.readinto(buffer):
            writer.write(buffer[:count])
        model = writer.finish()
    try:
        content.read_table(store, model.key)
    except MalformedTensorFile as error:
        raise Fatal(Exit.BAD_SETTINGS, f"the initial model is not a safetensors file: {error}") from error
    return model


def _opened(reader: Reader, weight: Fraction) -> _Term:
    table = content.read_header(reader)
    return _Term(weight, reader, {tensor.name: tensor.begin for tensor in table.tensors})


def _folded_blocks(tensor: Tensor, base: Reader, terms: list[_Term]) -> Iterator[memoryview]:
    """The new bytes of one tensor, block by block; each is valid until the next is asked for."""
    size = min(BLOCK_BYTES, tensor.end - tensor.begin)
    ours, theirs = bytearray(size), bytearray(size)
    accumulator = folding.Accumulator.of(tensor.dtype, size // tensorfile.ITEM_BYTES[tensor.dtype])
    for start in range(0, tensor.end - tensor.begin, BLOCK_BYTES):
        part = min(BLOCK_BYTES, tensor.end - tensor.begin - start)
        old, update = memoryview(ours)[:part], memoryview(theirs)[:part]
        base.read_into(old, tensor.begin + start)
        weighted = ((term.weight, _read(term, tensor, start, update)) for term in terms)
        with np.errstate(all="ignore"):
            new = folding.folded(tensor.dtype, folding.stored(tensor.dtype, old), weighted, accumulator)
        yield new.data.cast("B")


def _read(term: _Term, tensor: Tensor, start: int, buffer: memoryview) -> folding.Array:
    term.reader.read_into(buffer, term.begins[tensor.name] + start)
    return folding.stored(tensor.dtype, buffer)
