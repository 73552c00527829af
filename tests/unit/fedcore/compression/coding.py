"""Encodes and decodes arrays in memory by the codecs of fedcore; used by the tests of codecs, there and elsewhere."""

import numpy as np

from fedapi.wire.compression import Encoding
from fedcore.compression import fileform
from fedcore.compression.codec import PASS_ITEMS, noise
from fedcore.tensors import arithmetic, tensorfile
from fedcore.tensors.tensorfile import ITEM_BYTES, Tensor

CODECS = [Encoding(codec=name) for name in ("Float16", "BFloat16", "Int8", "Int4")] + [
    Encoding(codec="TopK", fraction=0.01)
]


def named(codec, fraction=0.01):
    return Encoding(codec=codec, fraction=fraction if codec == "TopK" else None)


def tensor(values, dtype="F32", name="w"):
    items = int(np.prod(values.shape))
    return Tensor(name, dtype, tuple(values.shape), 0, items * ITEM_BYTES[dtype])


def parts(values, encoding, seed=7):
    """The bytes of each part."""
    flat = np.ascontiguousarray(values, np.float32).reshape(-1)

    def passes():
        return (flat[at : at + PASS_ITEMS] for at in range(0, flat.size, PASS_ITEMS))

    its = tensor(values)
    made = fileform.codec_of(encoding).encode(passes, fileform.kind_of(its), encoding, noise(seed))
    data = b"".join(np.ascontiguousarray(part).tobytes() for part in made)
    found, at = [], 0
    for part in fileform.parts_of(its, encoding):
        found.append(data[at : at + part.end])
        at += part.end
    assert at == len(data), "the parts are what was announced"
    return found


def decoded(values, encoding, made, start=0, stop=None):
    """The items from start to stop out of such parts."""
    its = tensor(values)
    stop = int(np.prod(values.shape)) if stop is None else stop
    kinds = fileform.parts_of(its, encoding)

    def read(index, first, items):
        item = ITEM_BYTES[kinds[index].dtype]
        return arithmetic.stored(kinds[index].dtype, made[index][first * item : (first + items) * item])

    codec, out = fileform.codec_of(encoding), np.full(stop - start, np.nan, np.float32)
    codec.decode(read, codec.index(read, fileform.kind_of(its), encoding), start, out)
    return out


def there_and_back(values, encoding, seed=7):
    return decoded(values, encoding, parts(values, encoding, seed)).reshape(values.shape)


def file_of(values, encoding, among=None, seed=7):
    """An encoded file of named arrays of numpy's own types, as a trainer writes it. `among`: what may be encoded."""
    table = _table(values)
    chosen = fileform.worth(table.tensors, frozenset(values if among is None else among), encoding)
    data = bytearray(fileform.header(table.tensors, chosen, encoding)[0])
    for each in table.tensors:
        value = values[each.name]
        data += b"".join(parts(value, encoding, seed)) if each.name in chosen else value.tobytes()
    return bytes(data)


def sent(values, encoding, among=None, seed=7):
    """The arrays that whoever decodes such a file has."""
    chosen = fileform.worth(_table(values).tensors, frozenset(values if among is None else among), encoding)
    return {
        name: there_and_back(value, encoding, seed).astype(value.dtype) if name in chosen else value
        for name, value in values.items()
    }


def _table(values):
    kinds = {"float32": "F32", "float64": "F64", "float16": "F16", "int64": "I64", "uint8": "U8", "bool": "BOOL"}
    return tensorfile.canonical_header(tensor(v, kinds[v.dtype.name], name) for name, v in values.items())[1]
