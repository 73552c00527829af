"""In which pieces a fold goes through files of tensors: blocks of one kind, however small the tensors are. Pure.

A span is a part of a large tensor, or many small ones that follow each other in the model: computed with as one block,
and one read where a file has them side by side. Called by folding.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fedaggregator.engine.verified import BLOCK_BYTES, Extent
from fedcore.tensors.tensorfile import TensorFile


@dataclass(frozen=True)
class Piece:
    """Bytes of one tensor, counted from its own beginning."""

    name: str
    start: int
    size: int


@dataclass(frozen=True)
class Span:
    """Consecutive bytes of the model, of one type, all or none of them in the hub's state, and in the round's updates."""

    dtype: str
    remembered: bool  # of parameters, as far as the strategy tells them from buffers
    pieces: tuple[Piece, ...]
    exchanged: bool = True  # of tensors that the round's updates have; the others stay as they are

    @property
    def size(self) -> int:
        """Bytes, at most those of a block."""
        return sum(piece.size for piece in self.pieces)


def widest(parts: Sequence[Span]) -> int:
    """Bytes of the largest span: what a buffer for any of them holds."""
    return max((span.size for span in parts), default=0)


def spans(
    model: TensorFile,
    remembered: frozenset[str],
    block_bytes: int = BLOCK_BYTES,
    exchanged: frozenset[str] | None = None,
    *,
    apart: bool = False,
) -> tuple[Span, ...]:
    """The model from its first byte to its last. `remembered`: names of tensors that the hub's state has.

    `exchanged`: of those that the round's updates have; None: all. `apart`: no span has parts of two tensors.
    """
    found: list[Span] = []
    pieces: list[Piece] = []
    kind, room = ("", False, True), 0
    for tensor in model.tensors:
        its = tensor.dtype, tensor.name in remembered, exchanged is None or tensor.name in exchanged
        start, end = 0, tensor.end - tensor.begin
        while start < end:
            if pieces and (not room or its != kind or (apart and not start)):
                found.append(_span(kind, pieces))
                pieces = []
            if not pieces:
                kind, room = its, block_bytes
            size = min(room, end - start)
            pieces.append(Piece(tensor.name, start, size))
            start, room = start + size, room - size
    return (*found, _span(kind, pieces)) if pieces else tuple(found)


def _span(kind: tuple[str, bool, bool], pieces: Sequence[Piece]) -> Span:
    dtype, remembered, exchanged = kind
    return Span(dtype, remembered, tuple(pieces), exchanged)


def extents(span: Span, begins: Mapping[str, int], factor: int = 1) -> tuple[Extent, ...]:
    """Where a file has what belongs to a span, parts that touch taken together. `factor`: its bytes per byte of the model."""
    found: list[Extent] = []
    for piece in span.pieces:
        offset, size = begins[piece.name] + piece.start * factor, piece.size * factor
        if found and sum(found[-1]) == offset:
            offset, before = found.pop()
            size += before
        found.append((offset, size))
    return tuple(found)
