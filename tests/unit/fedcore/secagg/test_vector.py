"""Which numbers are summed, in one order for all parties, and how much of each update counts."""

import hashlib

import numpy as np
import pytest

from fedcore.secagg import masking, vector
from fedcore.secagg.masking import Mask, Streams
from fedcore.tensors.tensorfile import ITEM_BYTES, Tensor, TensorFile


def table(*kinds: tuple[str, str, int]) -> TensorFile:
    """Tensors of (name, dtype, items), one after the other."""
    tensors, at = [], 100
    for name, dtype, items in kinds:
        tensors.append(Tensor(name, dtype, (items,), at, at + items * ITEM_BYTES[dtype]))
        at = tensors[-1].end
    return TensorFile(at, tuple(tensors))


KINDS = (
    ("b", "F32", 3),
    ("steps", "I64", 1),
    ("a", "F32", 2),
    ("half", "BF16", 5),
    ("wide", "F64", 7),
    ("mask", "BOOL", 4),
)


def test_floats_alone_are_in_it_in_the_canonical_order():
    found = vector.carried(table(*KINDS))
    assert [tensor.name for tensor in found] == ["wide", "a", "b", "half"]
    assert vector.items(found) == 17


def test_how_a_file_lies_decides_nothing():
    assert vector.carried(table(*reversed(KINDS))) == vector.carried(table(*KINDS))


def test_others_are_left_out_where_names_are_given():
    found = vector.carried(table(*KINDS), ("half", "a", "steps"))
    assert [tensor.name for tensor in found] == ["a", "half"]


@pytest.mark.parametrize(
    ("samples", "whole", "weight"),
    [(5, None, 1.0), (0, None, 1.0), (5, 20, 0.25), (20, 20, 1.0), (21, 20, 1.0), (0, 20, 0.0), (0, 0, 0.0)],
)
def test_an_update_counts_by_its_samples_and_never_for_more_than_whole(samples, whole, weight):
    assert vector.weight(samples, whole) == weight


def test_the_sum_is_divided_by_what_its_updates_count_whatever_their_order():
    samples = [1, 3, 7, 11, 10]
    assert vector.total_weight(samples, 11) == vector.total_weight(samples[::-1], 11) == pytest.approx(32 / 11)
    assert vector.total_weight(samples, None) == 5


@pytest.mark.parametrize("cut", [1, 3, 16_384, 99_999])
def test_masks_that_are_applied_part_by_part_are_those_of_the_whole(cut):
    masks = [Mask(hashlib.sha256(bytes([n])).digest(), added=n % 2 == 0) for n in range(3)]
    whole, parts = np.arange(100_000, dtype="<u4"), np.arange(100_000, dtype="<u4")
    masking.apply(whole, masks)
    streams = Streams(masks)
    for at in range(0, parts.size, max(cut, 997)):
        streams.apply(parts[at : at + max(cut, 997)])
    assert np.array_equal(parts, whole)
