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
    """Consecutive bytes of the model, of one type, all with or all without memory at the hub."""

    dtype: str
    remembered: bool
    pieces: tuple[Piece, ...]

    @property
    def size(self) -> int:
        """Bytes, at most BLOCK_BYTES."""
        return sum(piece.size for piece in self.pieces)


def widest(parts: Sequence[Span]) -> int:
    """Bytes of the largest span: what a buffer for any of them holds."""
    return max((span.size for span in parts), default=0)


def spans(model: TensorFile, remembered: frozenset[str]) -> tuple[Span, ...]:
    """The model from its first byte to its last. `remembered`: names of tensors that the hub keeps numbers of."""
    found: list[Span] = []
    pieces: list[Piece] = []
    kind, room = ("", False), 0
    for tensor in model.tensors:
        its, start, end = (tensor.dtype, tensor.name in remembered), 0, tensor.end - tensor.begin
        while start < end:
            if pieces and (not room or its != kind):
                found.append(Span(*kind, tuple(pieces)))
                pieces = []
            if not pieces:
                kind, room = its, BLOCK_BYTES
            size = min(room, end - start)
            pieces.append(Piece(tensor.name, start, size))
            start, room = start + size, room - size
    return (*found, Span(*kind, tuple(pieces))) if pieces else tuple(found)


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
