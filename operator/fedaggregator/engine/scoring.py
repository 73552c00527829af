"""The pass over all updates of a round that is needed before they can be weighed. Blocking; called by folding.py.

All updates are read in lockstep, a block of each at a time. Everything that a robust rule wants to know (norms, distances, angles)
follows from the n x n inner products; clipping for privacy needs the squares of each tensor, to all digits. What is read is
verified, as in the fold itself.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle

import numpy as np

from fedaggregator.engine.sources import Source, check
from fedaggregator.engine.spans import Span, spans, widest
from fedaggregator.engine.verified import Request, ahead
from fedaggregator.errors import DamagedError
from fedcore.privacy import clipping
from fedcore.tensors import arithmetic, gram
from fedcore.tensors.arithmetic import Array
from fedcore.tensors.tensorfile import ITEM_BYTES, TensorFile

_BLOCK_BYTES = 256 << 10  # of each update; a constant, for blocks of the Gram matrix are part of what decides its bits
_THREADS, _AHEAD = 2, 4
_THREADS_FAR, _AHEAD_FAR = 8, 8  # where each block is a request


def parts(model: TensorFile, parameters: frozenset[str]) -> tuple[Span, ...]:
    """In which pieces the float parameters are gone through."""
    return tuple(span for span in spans(model, parameters, _BLOCK_BYTES) if span.remembered)


def gram_matrix(sources: Sequence[Source], spans_: Sequence[Span], go_on: Callable[[], None], *, is_far: bool) -> Array:
    """Inner products of open updates. DamagedError names all that are not what was accepted; `go_on` may raise, too."""
    found = np.zeros((len(sources), len(sources)))
    _passed(sources, spans_, go_on, lambda _span, rows: gram.added(found, rows), is_far=is_far)
    return found


@dataclass(frozen=True)
class Squares:
    """The squared norm of each tensor of each update: names, and a row of values for each update."""

    names: tuple[str, ...]
    values: Array


def squares(sources: Sequence[Source], spans_: Sequence[Span], go_on: Callable[[], None], *, is_far: bool) -> Squares:
    """Those of open updates, with all digits of float64; errors as above."""
    columns = {
        name: at for at, name in enumerate(dict.fromkeys(piece.name for span in spans_ for piece in span.pieces))
    }
    found = np.zeros((len(sources), len(columns)))

    def add(span: Span, rows: Array) -> None:
        start, item = 0, ITEM_BYTES[span.dtype]
        for piece in span.pieces:
            end = start + piece.size // item
            for index, row in enumerate(rows):
                found[index, columns[piece.name]] += clipping.squared(row[start:end])
            start = end

    if sources:
        _passed(sources, spans_, go_on, add, is_far=is_far)
    return Squares(tuple(columns), found)


def _passed(
    sources: Sequence[Source],
    spans_: Sequence[Span],
    go_on: Callable[[], None],
    add: Callable[[Span, Array], None],
    *,
    is_far: bool,
) -> None:
    """Gives blocks of all updates to `add`, span after span."""
    try:
        with ThreadPoolExecutor(_THREADS_FAR if is_far else _THREADS, thread_name_prefix="score") as threads:
            depth = min(_AHEAD_FAR if is_far else _AHEAD, len(sources))
            views = ahead(_requests(sources, spans_, depth), threads, depth)
            for span, rows in zip(spans_, _rows(sources, spans_, views), strict=True):
                go_on()
                add(span, rows)
    except DamagedError:
        check(sources)  # an encrypted update tells it while it is read: the others are looked at, too
        raise
    check(sources)


def _rows(sources: Sequence[Source], spans_: Sequence[Span], views: Iterator[memoryview]) -> Iterator[Array]:
    """A block of all updates at a time, one row each; valid until the next."""
    rows: dict[str, Array] = {}
    most = widest(spans_)
    for span in spans_:
        kind, items = arithmetic.working_type(span.dtype), span.size // ITEM_BYTES[span.dtype]
        if kind not in rows:
            widest_items = most // (8 if kind == "F64" else 2)
            rows[kind] = np.empty((len(sources), widest_items), arithmetic.stored(kind, b"").dtype)
        block = rows[kind][:, :items]
        for row in block:
            row[...] = arithmetic.decoded(span.dtype, arithmetic.stored(span.dtype, next(views)), row)
        yield block


def _requests(sources: Sequence[Source], spans_: Sequence[Span], depth: int) -> Iterator[Request]:
    buffers = cycle([memoryview(bytearray(widest(spans_))) for _ in range(depth)])
    for index in range(len(spans_)):
        for source in sources:
            yield Request(source.reader, source.places[index], next(buffers))
