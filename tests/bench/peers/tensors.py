"""Safetensors files of float32 as numpy arrays, and a figure by which results are compared: for rivals' environments."""

import json
import struct

import numpy as np


def read(path):
    """Arrays by name, in memory."""
    with open(path, "rb") as file:  # noqa: PTH123 - as short as it can be
        (size,) = struct.unpack("<Q", file.read(8))
        table = json.loads(file.read(size))
        data = np.fromfile(file, np.float32)
    table.pop("__metadata__", None)
    return {
        name: data[entry["data_offsets"][0] // 4 : entry["data_offsets"][1] // 4].reshape(entry["shape"])
        for name, entry in table.items()
    }


def digest(arrays):
    """The mean of all absolute values."""
    return sum(float(np.abs(a).sum(dtype=np.float64)) for a in arrays.values()) / sum(a.size for a in arrays.values())
