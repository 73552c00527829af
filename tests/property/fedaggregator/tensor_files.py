"""Tensor files that are almost right, from a seed: the reference library's own, with their header or bytes changed.

Used by test_tensorfile_fuzz.py and, in greater number, by tests/long.
"""

import contextlib
import json
import random
import struct

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from fedcore.tensors import tensorfile
from fedcore.tensors.tensorfile import MalformedTensorFileError

NUMBERS = (
    0,
    1,
    -1,
    2,
    7,
    8,
    9,
    1 << 31,
    (1 << 63) - 1,
    1 << 63,
    1 << 64,
    1 << 200,
    1.0,
    1e308,
    True,
    None,
    "8",
    [],
    {},
)
DTYPES = (*tensorfile.ITEM_BYTES, "F8_E4M3", "f32", "", None, 7, [], "C64")


def check(count: int, seed: int) -> int:
    """Parses so many; how many were taken. What is taken is what the reference library reads, byte for byte."""
    chance, taken = random.Random(seed), 0
    for _ in range(count):
        data = _file(chance)
        table = None
        with contextlib.suppress(MalformedTensorFileError):
            size = tensorfile.header_size(data[:8], len(data))
            table = tensorfile.parsed(data[8 : 8 + size], len(data))
        if table is not None:
            taken += 1
            _same(data, table)
    return taken


def _same(data: bytes, table: tensorfile.TensorFile) -> None:
    if any(tensor.dtype == "BF16" for tensor in table.tensors):  # numpy has none
        return
    try:
        known = load(data)
    except (SafetensorError, KeyError, ValueError):
        return  # the reference library is stricter about some things, for example metadata
    assert {name: value.tobytes() for name, value in known.items()} == {
        tensor.name: data[tensor.begin : tensor.end] for tensor in table.tensors
    }


def _file(chance: random.Random) -> bytes:
    model = {
        f"t{n}": np.zeros(chance.choice(((), (2,), (0, 3), (2, 3))), chance.choice(("f4", "f2", "i8", "u1", "?")))
        for n in range(chance.randint(0, 3))
    }
    data = save(model)
    (size,) = struct.unpack("<Q", data[:8])
    header, body = data[8 : 8 + size], data[8 + size :]
    if chance.random() < 0.7:
        header = _changed(chance, json.loads(header))
        size = len(header)
    if chance.random() < 0.2:
        size = chance.choice((0, 1, size - 1, size + 1, 1 << 62, (1 << 64) - 1)) & ((1 << 64) - 1)
    whole = bytearray(struct.pack("<Q", size) + header + body)
    for _ in range(chance.choice((0, 0, 1, 3))):
        whole[chance.randrange(len(whole))] = chance.randrange(256)
    return bytes(whole[: len(whole) - chance.choice((0, 0, 0, 1, len(whole) // 2))]) + bytes(
        chance.choice((0, 0, 0, 1))
    )


def _changed(chance: random.Random, table: dict) -> bytes:
    for entry in [value for value in table.values() if isinstance(value, dict)]:
        what = chance.choice(("dtype", "shape", "data_offsets", "more", "none"))
        if what == "dtype":
            entry["dtype"] = chance.choice(DTYPES)
        elif what == "more":
            entry[chance.choice(("x", "", "dtype "))] = chance.choice(NUMBERS)
        elif what in entry and isinstance(entry[what], list):
            entry[what] = [chance.choice((*NUMBERS, *entry[what])) for _ in range(chance.choice((0, 1, 2, 2, 3, 20)))]
    if chance.random() < 0.2:
        table[chance.choice(("__metadata__", "", "t0", "\x00"))] = chance.choice((*NUMBERS, {"format": "np"}))
    text = json.dumps(table).encode()
    return text + b" " * (-len(text) % 8) if chance.random() < 0.5 else text
