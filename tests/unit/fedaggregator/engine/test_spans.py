"""Spans cover a model's bytes once and in order, in blocks of one kind; places are where another file has them."""

import random

import pytest

from fedaggregator.engine import spans
from fedcore.tensors import tensorfile
from fedcore.tensors.tensorfile import ITEM_BYTES, Tensor


def table(seed: int) -> tensorfile.TensorFile:
    chance = random.Random(seed)
    tensors = []
    for number in range(chance.randint(1, 30)):
        dtype, items = chance.choice(["F32", "F16", "I64", "BOOL"]), chance.choice([0, 1, 7, 100, 1000, 5000])
        tensors.append(Tensor(f"t{number}", dtype, (items,), 0, items * ITEM_BYTES[dtype]))
    return tensorfile.canonical_header(tensors)[1]


@pytest.mark.parametrize("seed", range(30))
def test_spans_cover_the_model(seed):
    model = table(seed)
    kept = frozenset(tensor.name for tensor in model.tensors if int(tensor.name[1:]) % 2)
    found = spans.spans(model, kept, 4096)
    begins = {tensor.name: tensor.begin for tensor in model.tensors}
    kinds = {tensor.name: (tensor.dtype, tensor.name in kept) for tensor in model.tensors}
    position = model.tensors[0].begin
    for span in found:
        assert {kinds[piece.name] for piece in span.pieces} == {(span.dtype, span.remembered)}
        ((offset, size),) = spans.extents(span, begins)
        assert (offset, size % ITEM_BYTES[span.dtype]) == (position, 0)
        assert 0 < size <= 4096
        position += size
    assert position == model.size
    assert len(found) <= model.size / 4096 + len(kinds) + 1


def test_many_small_tensors_are_one_span():
    tensors = [Tensor(f"t{number}", "F32", (8,), 0, 32) for number in range(100)]
    (span,) = spans.spans(tensorfile.canonical_header(tensors)[1], frozenset())
    assert len(span.pieces) == 100


def test_a_file_in_another_order_is_read_in_parts():
    pieces = (spans.Piece("a", 0, 8), spans.Piece("b", 0, 4), spans.Piece("c", 0, 4))
    span = spans.Span("F32", False, pieces)
    assert spans.extents(span, {"a": 100, "b": 108, "c": 112}) == ((100, 16),)
    assert spans.extents(span, {"c": 100, "a": 104, "b": 112}) == ((104, 12), (100, 4))
    assert spans.extents(spans.Span("F16", True, (spans.Piece("a", 6, 2),)), {"a": 10}, 4) == ((34, 8),)
