"""The tensor file parser: what the reference library writes is read, everything hostile is refused by name."""

import contextlib
import json
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from fedcore.tensors import tensorfile
from fedcore.tensors.tensorfile import MalformedTensorFileError

MODEL = {
    "w": np.arange(6, dtype=np.float32).reshape(2, 3),
    "n": np.array(3, np.int64),
    "empty": np.zeros((0, 4), np.float16),
}


def parse(data: bytes) -> tensorfile.TensorFile:
    size = tensorfile.header_size(data[:8], len(data))
    return tensorfile.parsed(data[8 : 8 + size], len(data))


def raw(header, body: bytes = b"", *, claim: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if claim is None else claim) + text + body


def entry(dtype="F32", shape=(2,), offsets=(0, 8), **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)} | more


def test_reads_what_the_reference_library_writes():
    data = save(MODEL, metadata={"format": "np"})
    table = parse(data).by_name()
    assert {name: (t.dtype, t.shape) for name, t in table.items()} == {
        "w": ("F32", (2, 3)), "n": ("I64", ()), "empty": ("F16", (0, 4)),
    }  # fmt: skip
    assert data[table["w"].begin : table["w"].end] == MODEL["w"].tobytes()


def test_the_reference_library_reads_what_we_write():
    source = save(MODEL)
    old = parse(source)
    header, table = tensorfile.canonical_header(old.tensors)
    by_name = old.by_name()
    data = header + b"".join(source[by_name[t.name].begin : by_name[t.name].end] for t in table.tensors)
    assert len(data) == table.size
    assert {name: value.tolist() for name, value in load(data).items()} == {n: v.tolist() for n, v in MODEL.items()}
    assert all(tensor.begin % tensorfile.ITEM_BYTES[tensor.dtype] == 0 for tensor in table.tensors)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "at least 8"),
        (b"1234", "at least 8"),
        (raw({}, claim=2**63), "claims"),
        (raw({}, claim=100), "claims"),
        (raw(b"not json"), "not JSON"),
        (raw(b"\xff\xfe{}"), "not JSON"),
        (raw(b"[" * 100_000), "not JSON"),
        (raw([]), "not a JSON object"),
        (raw(b'{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}'), "twice"),
        (raw({"a": 7}), "needs exactly"),
        (raw({"a": entry(extra=1)}, bytes(8)), "needs exactly"),
        (raw({"half \ud800": entry()}, bytes(8)), "no Unicode text"),
        (raw({"a": entry(dtype="F31")}, bytes(8)), "dtype"),
        (raw({"a": entry(dtype=["F32"])}, bytes(8)), "dtype"),
        (raw({"a": entry(shape=(-2,))}, bytes(8)), "shape"),
        (raw({"a": entry(shape=(True, 2))}, bytes(8)), "shape"),
        (raw({"a": entry(shape=(2.0,))}, bytes(8)), "shape"),
        (raw({"a": entry(shape=(1,) * 17)}, bytes(8)), "shape"),
        (raw({"a": entry(shape=(2**40, 2**40))}, bytes(8)), "its shape"),
        (raw({"a": entry(offsets=(8, 0))}, bytes(8)), "data_offsets"),
        (raw({"a": entry(offsets=(0, 8, 16))}, bytes(8)), "data_offsets"),
        (raw({"a": entry(offsets=(0, 12))}, bytes(12)), "its shape"),
        (raw({"a": entry(offsets=(8, 16))}, bytes(16)), "begins at"),
        (raw({"a": entry(), "b": entry()}, bytes(8)), "begins at"),
        (raw({"a": entry()}, bytes(7)), "end at"),
        (raw({"a": entry()}, bytes(9)), "end at"),
    ],
)  # fmt: skip
def test_hostile_files_are_refused(data, says):
    with pytest.raises(MalformedTensorFileError, match=says):
        parse(data)


@settings(max_examples=200)
@given(st.binary(max_size=200), st.integers(0, 60), st.binary(max_size=12))
def test_noise_never_raises_anything_else(noise, position, patch):
    whole = save(MODEL)
    for data in (noise, whole[:position] + patch + whole[position + len(patch) :]):
        with contextlib.suppress(MalformedTensorFileError):
            parse(data)


@pytest.mark.parametrize(
    ("update", "says"),
    [
        (MODEL, ""),
        ({"w": MODEL["w"]}, "missing: \\['empty', 'n'\\]"),
        (MODEL | {"x": MODEL["w"]}, "not in the base: \\['x'\\]"),
        (MODEL | {"w": MODEL["w"].T.copy()}, "F32\\[3, 2\\], the base has F32\\[2, 3\\]"),
        (MODEL | {"w": MODEL["w"].astype(np.float64)}, "F64"),
    ],
)
def test_difference_names_what_differs(update, says):
    import re

    text = tensorfile.difference(parse(save(MODEL)), parse(save(update)))
    assert re.search(says, text) if says else text == ""
