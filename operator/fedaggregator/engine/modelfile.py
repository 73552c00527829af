"""Makes model files: the fold of a round, and the import of the initial model. Blocking; run in a thread.

Memory is a few blocks and one number per tensor and update, whatever the size of the model: files are read with pread
into reused buffers and written as they are made. Same inputs, same bytes, same digest. What is read is verified in the
same pass, and so is the result: nothing is made of damaged objects, and no model of numbers that are none.
"""

import os
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from io import FileIO
from pathlib import Path

import numpy as np

from fedaggregator.engine import content
from fedaggregator.engine.verified import BLOCK_BYTES, Block, VerifiedReader, verified
from fedaggregator.errors import AggregatorError, DamagedError, FatalError
from fedapi.outcome import Exit
from fedapi.wire.message import ObjectRef
from fedapi.wire.site import UPDATE
from fedapi.wire.store import Layout
from fedcore.rounds.effects import Fold
from fedcore.strategies import STRATEGIES
from fedcore.tensors import arithmetic, tensorfile
from fedcore.tensors.tensorfile import MalformedTensorFileError, Tensor, TensorFile
from fedstore.objectstore import DIGEST, ObjectStore

_HASHERS = 2  # threads beside the one that computes


class FoldCancelledError(AggregatorError):
    """The process is stopping; the fold is made anew after the restart."""


class ModelNotFiniteError(AggregatorError):
    """The sum is not a model: a tensor has values that are NaN or infinite where the base has none."""


@dataclass(frozen=True)
class _Opened:
    """An open update: its factor and where each tensor of the base begins in it."""

    ref: ObjectRef
    weight: Fraction
    reader: VerifiedReader
    begins: dict[str, int]


def fold(store: ObjectStore, layout: Layout, order: Fold, cancelled: Callable[[], bool]) -> ObjectRef:
    """The next model's object: base + sum(weight * update) in the order of the terms. Nobody has samples: the base itself.

    DamagedError names what is not what was accepted or committed; ModelNotFiniteError the tensor that cannot be committed.
    """
    updates = _weighted(order)
    if not updates:
        return order.base
    with ExitStack() as files:
        threads = files.enter_context(ThreadPoolExecutor(_HASHERS, thread_name_prefix="hash"))
        base, table, terms = _opened(store, order.base, updates, threads, files)
        header, new = tensorfile.canonical_header(table.tensors)
        old = table.by_name()
        writer = files.enter_context(store.writer(layout.model(order.round, DIGEST), size=new.size))
        writer.write(header)
        broken = ""
        for tensor in new.tensors:
            for block, finite in _folded_blocks(old[tensor.name], base, terms):
                if cancelled():
                    raise FoldCancelledError(f"fold of round {order.round} stopped")
                broken = broken if broken or finite else tensor.name
                writer.write(block)
        _check(order.base, base, terms)
        if broken:
            raise ModelNotFiniteError(
                f"tensor {broken!r} of the model of round {order.round} would have NaN or infinite values"
            )
        return writer.finish()


def import_initial(store: ObjectStore, layout: Layout, path: Path) -> ObjectRef:
    """Copies the initial model into the store. It must be a tensor file.

    Infinities and NaN are the task's own: constants such as a mask, which a fold leaves as they are. That parameters
    are finite was checked where the model was made, which knows them from buffers.
    """
    with ExitStack() as files:
        file = files.enter_context(_file_of_task(path))
        writer = files.enter_context(store.writer(layout.model(0, DIGEST)))
        buffer = memoryview(bytearray(BLOCK_BYTES))
        while count := file.readinto(buffer):
            writer.write(buffer[:count])
        model = writer.finish()
    try:
        content.read_table(store, model.key)
    except MalformedTensorFileError as error:
        raise FatalError(Exit.BAD_SETTINGS, f"the initial model is not a safetensors file: {error}") from error
    return model


def _file_of_task(path: Path) -> FileIO:
    """A plain file that task code made: a link leads nowhere, and nobody waits for the other end of a pipe."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise FatalError(
            Exit.BAD_SETTINGS, f"the initial model {path.name} cannot be read: {error.strerror}"
        ) from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise FatalError(Exit.BAD_SETTINGS, f"the initial model {path.name} is not a plain file")
    return FileIO(fd, "rb")


def _weighted(order: Fold) -> list[tuple[ObjectRef, Fraction]]:
    """The updates and how much each counts; what counts nothing adds nothing, not even a rounding."""
    factors = STRATEGIES[order.strategy.name].weights([term.samples for term in order.terms])
    updates = (term.payloads[UPDATE].object for term in order.terms)
    return [(update, factor) for update, factor in zip(updates, factors, strict=True) if factor > 0]


def _opened(
    store: ObjectStore,
    model: ObjectRef,
    updates: list[tuple[ObjectRef, Fraction]],
    threads: ThreadPoolExecutor,
    files: ExitStack,
) -> tuple[VerifiedReader, TensorFile, list[_Opened]]:
    """Base and updates. DamagedError names all that are missing or are not tensor files of the base's kind any more."""
    base = files.enter_context(verified(store, model, threads))
    try:
        table = content.read_header(base)
    except MalformedTensorFileError as error:
        raise DamagedError({model.key: str(error)}) from error
    opened: list[_Opened] = []
    found: dict[str, str] = {}
    for update, weight in updates:
        try:
            reader = files.enter_context(verified(store, update, threads))
            theirs = content.read_header(reader)
        except DamagedError as error:
            found.update(error.found)
        except MalformedTensorFileError as error:
            found[update.key] = str(error)
        else:
            if different := tensorfile.difference(table, theirs):
                found[update.key] = different
            opened.append(_Opened(update, weight, reader, {tensor.name: tensor.begin for tensor in theirs.tensors}))
    if found:
        _whole(model, base)  # else the updates may be blamed for what the base lacks
        raise DamagedError(found)
    return base, table, opened


def _check(model: ObjectRef, base: VerifiedReader, terms: list[_Opened]) -> None:
    """Damaged names the base, or else all updates, that are not what was committed or accepted."""
    _whole(model, base)
    troubles = {term.ref.key: term.reader.trouble() for term in terms}
    found = {key: trouble for key, trouble in troubles.items() if trouble}
    if found:
        raise DamagedError(found)


def _whole(ref: ObjectRef, reader: VerifiedReader) -> None:
    if trouble := reader.trouble():
        raise DamagedError({ref.key: trouble})


def _folded_blocks(tensor: Tensor, base: VerifiedReader, terms: list[_Opened]) -> Iterator[tuple[memoryview, bool]]:
    """The new bytes of one tensor, block by block, and whether they are finite; valid until the next is asked for."""
    size = min(BLOCK_BYTES, tensor.end - tensor.begin)
    ours, theirs = Block(size), (Block(size), Block(size))
    accumulator = arithmetic.Accumulator.of(tensor.dtype, size // tensorfile.ITEM_BYTES[tensor.dtype])
    for start in range(0, tensor.end - tensor.begin, BLOCK_BYTES):
        part = min(BLOCK_BYTES, tensor.end - tensor.begin - start)
        old = arithmetic.stored(tensor.dtype, base.read_block(ours, part, tensor.begin + start))
        weighted = (
            (term.weight, arithmetic.stored(tensor.dtype, term.reader.read_block(theirs[i % 2], part, begin + start)))
            for i, (term, begin) in enumerate((term, term.begins[tensor.name]) for term in terms)
        )
        with np.errstate(all="ignore"):
            new = arithmetic.folded(tensor.dtype, old, weighted, accumulator)
        yield new.data.cast("B"), arithmetic.as_finite(tensor.dtype, new, old)
