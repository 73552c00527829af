"""The loops over every byte of a model: compiled ones (`kernels.c`) where the library was built, else numpy's. Pure.

Called by arithmetic.py and fingerprint.py. Both ways give the same bits (tests/unit/fedcore/tensors/test_kernels.py); what
has no way without the library (`AVAILABLE`) is not done without it. A loop lets other threads run meanwhile.
To add one: write the C function, declare it in `_SIGNATURES`, give it its numpy twin here, raise INTERFACE in both files.
"""

import ctypes
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
INTERFACE = 4  # as kernels.c has it
READ = np.dtype([("offset", "u8"), ("file", "i4"), ("weight", "f4"), ("sums", "u8", 2)])  # `struct term` of kernels.c
_LANES = 16  # of a sum of squares
_Sums = ctypes.c_uint64 * 2
_BYTES, _COUNT, _INT = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
_SIGNATURES: dict[str, tuple[list[Any], Any]] = {
    "interface": ([], _INT),
    "add_scaled_f32": ([_BYTES, _BYTES, ctypes.c_float, _COUNT], None),
    "add_scaled_f64": ([_BYTES, _BYTES, ctypes.c_double, _COUNT], None),
    "squares_f32": ([_BYTES, _COUNT, _BYTES], None),
    "finite_f32": ([_BYTES, _COUNT], _INT),
    "rank_f32": ([_BYTES, _COUNT, _BYTES, _COUNT, _COUNT], None),
    "fingerprint": ([_BYTES, _COUNT, ctypes.c_uint64, ctypes.c_char_p, ctypes.c_void_p], None),
    "sum_read_f32": ([_BYTES, _BYTES, _COUNT, _BYTES, ctypes.c_char_p, _BYTES, _COUNT], _COUNT),
}


def _loaded() -> dict[str, Any]:
    """The library's functions by name; none where it was not built, cannot be loaded here, or is another version's."""
    try:
        library = ctypes.CDLL(str(Path(__file__).with_name("_kernels.so")))
        found = {name: getattr(library, f"fedloom_{name}") for name in _SIGNATURES}
    except (OSError, AttributeError):
        return {}
    for name, (arguments, result) in _SIGNATURES.items():
        found[name].argtypes, found[name].restype = arguments, result
    return found if found["interface"]() == INTERFACE else {}


_FUNCTIONS = _loaded()
AVAILABLE = bool(_FUNCTIONS)
_ADD_SCALED = {
    np.dtype(kind): _FUNCTIONS[f"add_scaled_{name}"] for kind, name in (("f4", "f32"), ("f8", "f64")) if AVAILABLE
}


def add_scaled(total: Array, block: Array, weight: float, product: Array) -> None:
    """Adds weight * block to the total: product and sum each rounded to their type. `product`: room, which may be the block itself."""
    function = _ADD_SCALED.get(total.dtype)
    if function is not None and total.dtype == block.dtype and _plain(total) and _plain(block):
        function(_address(total), _address(block), weight, total.size)
        return
    np.multiply(block, product.dtype.type(weight), out=product)
    np.add(total, product, out=total)


def squares(items: Array) -> float:
    """The sum of squares of float32 or float64 items, as float64: of 16 sums, to each of which every 16th item goes."""
    sums = np.zeros(_LANES)
    if AVAILABLE and items.dtype == np.dtype("f4") and _plain(items):
        _FUNCTIONS["squares_f32"](_address(items), items.size, _address(sums))
    else:
        padded = np.zeros((-(-items.size // _LANES), _LANES))
        padded.reshape(-1)[: items.size] = items
        with np.errstate(over="ignore"):
            sums = np.add.reduce(np.multiply(padded, padded, out=padded), axis=0)  # row after row
    return reduce(add, sums.tolist(), 0.0)  # `sum` compensates in newer Pythons, and not in older ones


def finite_f32(items: Array) -> bool:
    """Whether no float32 is NaN or infinite."""
    if AVAILABLE and _plain(items):
        return bool(_FUNCTIONS["finite_f32"](_address(items), items.size))
    return bool(np.isfinite(items).all())


def rank_f32(rows: list[Array], pairs: Array) -> bool:
    """Sorts float32 rows of one length, item by item, as pairs of their indices (n x 2, int32) say: the first gets the smaller.

    Without NaN and negative zeros. False: nothing was done, the twin is in sorting.py.
    """
    if not AVAILABLE or rows[0].dtype != np.dtype("f4") or not all(map(_plain, rows)):
        return False
    addresses = np.array([_address(row) for row in rows], np.uintp)
    _FUNCTIONS["rank_f32"](_address(addresses), len(rows), _address(pairs), len(pairs), rows[0].size)
    return True


def fingerprint(data: memoryview, offset: int, key: bytes) -> tuple[int, int]:
    """What bytes add to the two sums of an object in which they lie at that offset; see fingerprint.py. Only where AVAILABLE."""
    sums = _Sums()
    _FUNCTIONS["fingerprint"](_address(data), data.nbytes, offset, key, sums)
    return sums[0], sums[1]


def sum_read_f32(total: Array, terms: Array, read: int, room: memoryview, key: bytes) -> int:
    """The sum of weight * what a file has, for each of `terms` (READ) in turn, in a float32 total that lies plainly in memory.

    `read`: address of a C function that does what pread does, of offsets of 64 bits. `room`: as large as the total.
    How many terms are done; the next cannot be read, and nothing of it is added. Where none is, the total is as it was.
    Only where AVAILABLE.
    """
    done: int = _FUNCTIONS["sum_read_f32"](
        read, _address(terms), len(terms), _address(room), key, _address(total), total.size
    )
    return done


def _plain(items: Array) -> bool:
    """Whether C can go through it: one item after the other, each where its type may lie, in this machine's byte order."""
    flags = items.flags
    return bool(flags.c_contiguous and flags.aligned)


def _address(items: Array | memoryview) -> int:
    """Of what lies in one piece in memory."""
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(cast(Any, items)))
    except (TypeError, ValueError):  # it cannot be written to, or is empty
        return int(np.frombuffer(items, np.uint8).ctypes.data) if items.nbytes else 0
