"""What an initial model may say of sub-models, and what tensors a sub-model has."""

import json

import pytest

from fedcore.tensors import submodels
from fedcore.tensors.tensorfile import METADATA, MalformedTensorFileError, Tensor, header, parsed

TENSORS = (Tensor("w", "F32", (4, 6), 0, 96), Tensor("h", "BF16", (8,), 0, 16), Tensor("n", "I64", (3,), 0, 24))


def table(**widths):
    data, _ = header(TENSORS, json.dumps({"widths": widths}))
    size = sum(tensor.end for tensor in TENSORS)
    found = parsed(data[8:], len(data) + size)
    assert METADATA not in found.said
    return found


def test_what_is_said_is_read_and_makes_the_tensors_of_a_sub_model():
    shapes = {0.5: {"w": (2, 3), "h": (4,)}, 0.25: {"w": (1, 6)}}
    found = table(**submodels.said(shapes))
    assert submodels.widths(found) == shapes
    small = submodels.sliced(found, shapes[0.5]).by_name()
    assert {name: (t.shape, t.end - t.begin) for name, t in small.items()} == {
        "w": ((2, 3), 24), "h": ((4,), 8), "n": ((3,), 24),
    }  # fmt: skip
    assert submodels.widths(table()) == {}


@pytest.mark.parametrize(
    ("widths", "told"),
    [
        ({"0.5": {"x": [1]}}, "tensor 'x' is none of the whole model"),
        ({"0.5": {"n": [2]}}, "tensor 'n' is smaller, and I64: floats alone"),
        ({"0.5": {"w": [4]}}, r"tensor 'w' is \[4\], which is no leading slice of \[4, 6\]"),
        ({"0.5": {"w": [2, 7]}}, "no leading slice"),
        ({"0.5": {"w": [0, 6]}}, "no leading slice"),
        ({"0.5": {"w": [True, 6]}}, "no leading slice"),
        ({"0.5": {"w": "2x3"}}, "no leading slice"),
        ({"0.5": ["w"]}, "width '0.5' is no JSON object of shapes"),
        ({"1.0": {}}, "width '1.0' is not over 0 and below 1"),
        ({"half": {}}, "width 'half' is not"),
        ({"nan": {}}, "width 'nan' is not"),
    ],
)
def test_what_makes_no_sub_model_is_named(widths, told):
    with pytest.raises(MalformedTensorFileError, match=told):
        submodels.widths(table(**widths))


def test_widths_that_are_no_object():
    data, _ = header(TENSORS, '{"widths": [0.5]}')
    with pytest.raises(MalformedTensorFileError, match="widths is no JSON object"):
        submodels.widths(parsed(data[8:], len(data) + sum(tensor.end for tensor in TENSORS)))
