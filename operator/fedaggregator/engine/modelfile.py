"""Makes model files: the fold of a round. Blocking; run in a thread.

Memory is a few blocks and one number per tensor and update, whatever the size of the model: files are read with pread
into reused buffers and written as they are made. Same inputs, same bytes, same digest. What is read is verified in the
same pass, and so is the result: nothing is made of damaged objects, and no model of numbers that are none.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from fedaggregator.engine import content
from fedaggregator.engine.verified import BLOCK_BYTES, Block, VerifiedReader, verified
from fedaggregator.errors import AggregatorError, DamagedError
from fedapi.wire.message import ObjectRef
from fedapi.wire.store import Layout
from fedcore.rounds.effects import Fold
from fedcore.tensors import arithmetic, tensorfile
from fedcore.tensors.tensorfile import MalformedTensorFileError, Tensor, TensorFile
from fedstore.objectstore import DIGEST, ObjectStore

_HASHERS = 2  # threads beside the one that computes


class FoldCancelledError(AggregatorError):
    """The process is stopping; the fold is made anew after the restart."""


class ModelNotFiniteError(AggregatorError):
    """The sum is not a model: a tensor has values that are NaN or infinite where the base has none."""


@dataclass(frozen=True)
class _Term:
    """An open update: its factor and where each tensor of the base begins in it."""

    weight: Fraction
    reader: VerifiedReader
    begins: dict[str, int]


def fold(store: ObjectStore, layout: Layout, order: Fold, cancelled: Callable[[], bool]) -> ObjectRef:
    """The next model's object: base + sum(weight * update) in the order of the terms. No terms: the base itself.

    DamagedError names what is not what was accepted or committed; ModelNotFiniteError the tensor that cannot be committed.
    """
    if not order.terms:
        return order.base
    with ExitStack() as files:
        threads = files.enter_context(ThreadPoolExecutor(_HASHERS, thread_name_prefix="hash"))
        base, table, terms = _opened(store, order, threads, files)
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
        _check(order, base, terms)
        if broken:
            raise ModelNotFiniteError(
                f"tensor {broken!r} of the model of round {order.round} would have NaN or infinite values"
            )
        return writer.finish()


def _opened(
    store: ObjectStore, order: Fold, threads: ThreadPoolExecutor, files: ExitStack
) -> tuple[VerifiedReader, TensorFile, list[_Term]]:
    """Base and updates. DamagedError names all that are missing or are not tensor files of the base's kind any more."""
    base = files.enter_context(verified(store, order.base, threads))
    try:
        table = content.read_header(base)
    except MalformedTensorFileError as error:
        raise DamagedError({order.base.key: str(error)}) from error
    terms: list[_Term] = []
    found: dict[str, str] = {}
    for term in order.terms:
        try:
            reader = files.enter_context(verified(store, term.update, threads))
            theirs = content.read_header(reader)
        except DamagedError as error:
            found.update(error.found)
        except MalformedTensorFileError as error:
            found[term.update.key] = str(error)
        else:
            if different := tensorfile.difference(table, theirs):
                found[term.update.key] = different
            terms.append(_Term(term.weight, reader, {tensor.name: tensor.begin for tensor in theirs.tensors}))
    if found:
        _whole(order.base, base)  # else the updates may be blamed for what the base lacks
        raise DamagedError(found)
    return base, table, terms


def _check(order: Fold, base: VerifiedReader, terms: list[_Term]) -> None:
    """Damaged names the base, or else all updates, that are not what was committed or accepted."""
    _whole(order.base, base)
    troubles = {term.update.key: opened.reader.trouble() for term, opened in zip(order.terms, terms, strict=True)}
    found = {key: trouble for key, trouble in troubles.items() if trouble}
    if found:
        raise DamagedError(found)


def _whole(ref: ObjectRef, reader: VerifiedReader) -> None:
    if trouble := reader.trouble():
        raise DamagedError({ref.key: trouble})


def _folded_blocks(tensor: Tensor, base: VerifiedReader, terms: list[_Term]) -> Iterator[tuple[memoryview, bool]]:
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
