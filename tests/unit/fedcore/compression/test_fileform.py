"""What an encoded file looks like: which tensors are parts, in which order, and what is no such file."""

import json

import numpy as np
import pytest
from safetensors.torch import load

from fedapi.wire.compression import Encoding
from fedcore.compression import fileform
from fedcore.compression.codec import MalformedEncodingError
from fedcore.compression.fileform import Coded
from fedcore.tensors import tensorfile
from fedcore.tensors.tensorfile import ITEM_BYTES, Tensor
from tests.unit.fedcore.compression.coding import CODECS, named

INT8 = named("Int8")


def tensor(name, dtype, *shape):
    return Tensor(name, dtype, shape, 0, int(np.prod(shape)) * ITEM_BYTES[dtype])


MODEL = [
    tensor("w", "F32", 64, 33), tensor("b", "F32", 64), tensor("e", "F32", 0, 7), tensor("h", "BF16", 2000),
    tensor("d", "F64", 1024), tensor("n", "I64"), tensor("i", "I32", 5000), tensor("m", "BOOL", 3000),
    tensor("v", "F32", 5000),
]  # fmt: skip
BASE = tensorfile.canonical_header(MODEL)[1]
PARAMETERS = frozenset(t.name for t in MODEL) - {"v"}  # a buffer


def file_of(encoding=INT8, encoded=None):
    chosen = fileform.worth(BASE.tensors, PARAMETERS, encoding) if encoded is None else encoded
    return fileform.header(BASE.tensors, chosen, encoding)


@pytest.mark.parametrize(
    ("codec", "chosen"),
    [("Float16", "wd"), ("BFloat16", "wd"), ("Int8", "whd"), ("Int4", "whd"), ("TopK", "whd")],
)
def test_floats_that_get_smaller_are_encoded(codec, chosen):
    assert fileform.worth(BASE.tensors, PARAMETERS, named(codec)) == {*chosen}, "no buffer, no integer, nothing small"


@pytest.mark.parametrize("encoding", CODECS, ids=lambda encoding: encoding.codec)
def test_a_file_is_found_to_be_what_it_is(encoding):
    header, file = file_of(encoding)
    assert tensorfile.parsed(header[8:], file.size).said == encoding.model_dump(exclude_none=True)
    found, form = fileform.formed(BASE, file, encoding.codec)
    assert found == encoding
    assert [*form] == [t.name for t in BASE.tensors]
    for base in BASE.tensors:
        its = form[base.name]
        if isinstance(its, Coded):
            assert [p.kind for p in its.parts] == [p.kind for p in fileform.parts_of(base, encoding)]
        else:
            assert its.kind == base.kind


@pytest.mark.parametrize("encoding", CODECS, ids=lambda encoding: encoding.codec)
def test_it_is_a_file_of_safetensors(encoding):
    header, file = file_of(encoding)
    found = load(header + bytes(file.size - len(header)))
    assert {name: list(value.shape) for name, value in found.items()} == {t.name: list(t.shape) for t in file.tensors}


@pytest.mark.parametrize("encoding", CODECS, ids=lambda encoding: encoding.codec)
def test_parts_lie_where_the_tensor_lay(encoding):
    _, file = file_of(encoding)
    owners = [t.name.partition("/")[0] for t in file.tensors]
    assert list(dict.fromkeys(owners)) == [t.name for t in BASE.tensors]


def test_a_part_never_takes_another_tensor_s_name():
    model = [tensor("w", "F32", 5000), tensor("w/scale", "F32", 10)]
    base = tensorfile.canonical_header(model)[1]
    assert fileform.worth(model, frozenset({"w"}), INT8) == frozenset()
    assert fileform.worth(model, frozenset({"w"}), named("TopK")) == {"w"}
    encoded = [tensor("w", "I8", 10, 512), tensor("w/scale", "F32", 10)]
    with pytest.raises(MalformedEncodingError, match="missing"):
        fileform.formed(base, tensorfile.header(encoded, json.dumps({"codec": "Int8"}))[1], "Int8")


def altered(change, encoding=INT8):
    parts = {t.name: t for t in file_of(encoding)[1].tensors}
    change(parts)
    return tensorfile.header(parts.values(), json.dumps(encoding.model_dump(exclude_none=True)))[1]


HOSTILE = [
    ("without a scale", lambda parts: parts.pop("w/scale"), r"tensors missing: \['w/scale'\]"),
    ("without a tensor", lambda parts: parts.pop("b"), r"missing: \['b"),
    ("one more", lambda parts: parts.update(x=tensor("x", "F32", 3)), r"not in the base: \['x'\]"),
    ("a scale of an integer", lambda parts: parts.update({"i/scale": tensor("i/scale", "F32", 10)}), "not in the base"),
    ("too few scales", lambda parts: parts.update({"w/scale": tensor("w/scale", "F32", 4)}), r"F32\[4\], by the base and Int8 it is F32\[5\]"),
    ("too few codes", lambda parts: parts.update(w=tensor("w", "I8", 4, 512)), r"I8\[4, 512\], by the base and Int8 it is I8\[5, 512\]"),
    ("codes of another type", lambda parts: parts.update(w=tensor("w", "U8", 5, 512)), "U8"),
    ("scales of another type", lambda parts: parts.update({"w/scale": tensor("w/scale", "F64", 5)}), "F64"),
    ("a tensor of another shape", lambda parts: parts.update(b=tensor("b", "F32", 65)), "missing|F32"),
    ("an integer as codes", lambda parts: parts.update(i=tensor("i", "I8", 10, 512)), "it is I32"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "told"), [row[1:] for row in HOSTILE], ids=[row[0] for row in HOSTILE])
def test_what_is_no_encoded_file_of_the_base(change, told):
    with pytest.raises(MalformedEncodingError, match=told):
        fileform.formed(BASE, altered(change), "Int8")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({}, "codec: Field required"),
        ({"codec": "Zstd"}, "codec: Input should be 'Float16'"),
        ({"codec": "None"}, "codec: Input should be"),
        ({"codec": "Int4"}, "says codec Int4, its manifest Int8"),
        ({"codec": "Int8", "fraction": 0.1}, "fraction goes with TopK"),
        ({"codec": "Int8", "block": 64}, "block: Extra inputs"),
        ({"codec": "TopK"}, "fraction goes with TopK, which needs it"),
        ({"codec": "TopK", "fraction": 0.6}, "fraction: Input should be less"),
        ({"codec": "TopK", "fraction": 0}, "fraction: Input should be greater"),
        ({"codec": "TopK", "fraction": "nan"}, "fraction: Input should be"),
    ],
)
def test_metadata_that_says_no_codec_or_another(said, told):
    file = tensorfile.header(file_of()[1].tensors, json.dumps(said))[1]
    with pytest.raises(MalformedEncodingError, match=told):
        fileform.formed(BASE, file, "Int8")


def test_other_entries_than_the_fraction_makes():
    file = altered(lambda parts: parts.update({"w/index": tensor("w/index", "U16", 20)}), named("TopK"))
    with pytest.raises(MalformedEncodingError, match=r"'w/index' is U16\[20\], by the base and TopK it is U16\[24\]"):
        fileform.formed(BASE, file, "TopK")


def test_an_int8_update_of_a_network_is_3_9_times_smaller():
    """ResNet-50's layers: header, scales, biases and statistics included."""
    shapes, width = [(64, 3, 7, 7)], 64
    for blocks, inner in ((3, 64), (4, 128), (6, 256), (3, 512)):
        for block in range(blocks):
            shapes += [(inner, width, 1, 1), (inner, inner, 3, 3), (4 * inner, inner, 1, 1)]
            shapes += [(4 * inner, width, 1, 1)] if not block else []
            width = 4 * inner
    model = [tensor(f"layer{n}.conv.weight", "F32", *shape) for n, shape in enumerate(shapes)]
    model += [
        tensor(f"layer{n}.bn.{what}", "F32", shape[0]) for n, shape in enumerate(shapes) for what in ("weight", "bias")
    ]
    model += [tensor("fc.weight", "F32", 1000, 2048), tensor("fc.bias", "F32", 1000)]
    plain = tensorfile.canonical_header(model)[1]
    names = frozenset(t.name for t in model)
    sizes = {
        e.codec: plain.size / fileform.header(plain.tensors, fileform.worth(model, names, e), e)[1].size for e in CODECS
    }
    assert sizes["Int8"] >= 3.9
    assert sizes["Int4"] >= 7.2
    assert sizes["TopK"] >= 50
    assert Encoding(codec="Int8") in CODECS
