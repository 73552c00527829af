"""The compiled loops and numpy's give the same bits, whatever the values; fingerprints are what their definition says."""

import contextlib
import ctypes
import os
from functools import reduce
from itertools import pairwise
from operator import add

import numpy as np
import pytest

from fedcore.tensors import arithmetic, fingerprint, kernels, sorting
from fedcore.tensors.arithmetic import Accumulator
from fedstore.native import pread

KEY = fingerprint.key(os.urandom(fingerprint.KEY_BYTES))
SIZES = [0, 1, 3, 8, 17, 1000, 65_537]
SPECIAL = [0.0, -0.0, 1e-45, -1e-40, 1.17549435e-38, 3.4028235e38, -3.4028235e38, np.inf, -np.inf, np.nan, 1 / 3]


@pytest.fixture
def without(monkeypatch):
    """As on a machine without the library."""

    def numpy_alone() -> None:
        monkeypatch.setattr(kernels, "AVAILABLE", False)
        monkeypatch.setattr(kernels, "_ADD_SCALED", {})

    return numpy_alone


def test_the_development_environment_has_the_library():
    """Else nothing here compares anything: `make install` builds it."""
    assert kernels.AVAILABLE


def values(kind: str, size: int) -> list[np.ndarray]:
    rng = np.random.default_rng(size)
    blocks = [(rng.normal(size=size) * 10.0 ** rng.integers(-44, 38, size)).astype(kind) for _ in range(5)]
    for block in blocks:
        places = rng.integers(0, max(1, size), min(size, len(SPECIAL)))
        block[places] = np.array(SPECIAL, kind)[: len(places)]
    return blocks


@pytest.mark.parametrize("kind", ["F32", "F64"])
@pytest.mark.parametrize("size", SIZES)
def test_weighted_sums_have_the_bits_of_numpy(kind, size, without):
    blocks = values("<f4" if kind == "F32" else "<f8", size)
    weights = [1 / 3, 0.25, 7e-30, 1e20, -1.5]

    def summed() -> bytes:
        with np.errstate(all="ignore"):
            found = arithmetic.weighted_sum(zip(weights, blocks, strict=True), Accumulator.of(kind, size))
        found[np.isnan(found)] = np.nan  # a model has none: which of two NaN a sum becomes is the processor's business
        return found.tobytes()

    compiled = summed()
    without()
    assert summed() == compiled


def test_a_product_is_rounded_before_it_is_added():
    """A fused multiply-add would give 2^-48: exactly what rounding the product loses."""
    one = np.float32(1 + 2**-12)
    total, block = np.array([-(one * one)], np.float32).repeat(40), np.full(40, one, np.float32)
    kernels.add_scaled(total, block, float(one), np.empty(40, np.float32))
    assert not total.any()


@pytest.mark.parametrize("kind", ["<f4", "<f8"])
def test_what_does_not_lie_plainly_in_memory_is_left_to_numpy(kind):
    rng = np.random.default_rng(1)
    wide = rng.normal(size=200).astype(kind)
    bytes_ = np.zeros(100 * wide.itemsize + 1, np.uint8)
    askew = bytes_[1:].view(kind)
    askew[:] = wide[:100]
    for block in (wide[::2], askew):
        total, expected = np.ones(100, kind), np.ones(100, kind)
        kernels.add_scaled(total, block, 0.3, np.empty(100, kind))
        expected += block * np.dtype(kind).type(0.3)
        assert np.array_equal(total, expected)


@pytest.mark.parametrize("size", [1, 7, 8, 300])
@pytest.mark.parametrize("value", SPECIAL)
def test_finite_says_what_numpy_says_of_a_value_anywhere(size, value, without):
    for place in {0, size // 2, size - 1}:
        items = np.ones(size, np.float32)
        items[place] = value
        found = kernels.finite_f32(items)
        assert found == bool(np.isfinite(items).all())
    without()
    assert kernels.finite_f32(items) == found


def defined(data: bytes, offset: int) -> tuple[int, int]:
    """The definition, in Python's integers: factor of the place in a chunk, times factor of the chunk, times word."""
    inner = np.frombuffer(KEY[:2048], np.uint32).reshape(2, 256)
    sums = [0, 0]
    for place, byte in enumerate(data, offset):
        chunk, word, shift = place // 1024, place % 1024 // 4, 8 * (place % 4)
        for which in range(2):
            seed = int.from_bytes(KEY[2048 + 8 * which :][:8], "little")
            mixed = (seed + (chunk + 1) * 0x9E3779B97F4A7C15) % 2**64
            mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
            mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) % 2**64
            sums[which] += (byte << shift) * int(inner[which][word]) * ((mixed ^ (mixed >> 31)) | 1)
    return fingerprint.total(*sums)


def of(data: bytes, offset: int = 0) -> tuple[int, int]:
    return kernels.fingerprint(memoryview(data), offset, KEY)


@pytest.mark.parametrize("offset", [0, 1, 4, 1000, 1024, 1027, 10 * 1024])
@pytest.mark.parametrize("size", [0, 1, 5, 1023, 1024, 1025, 4096, 9001])
def test_a_fingerprint_is_what_its_definition_says(offset, size):
    data = np.random.default_rng(size).bytes(size)
    assert of(data, offset) == defined(data, offset)


def test_parts_may_come_in_any_order_and_be_cut_anywhere():
    rng = np.random.default_rng(3)
    data = rng.bytes(50_001)
    for _ in range(20):
        cuts = [0, *sorted(int(cut) for cut in rng.integers(0, len(data), 7)), len(data)]
        parts = [(begin, data[begin:end]) for begin, end in pairwise(cuts)]
        rng.shuffle(parts)
        sums = [of(part, begin) for begin, part in parts]
        assert fingerprint.total(sum(s[0] for s in sums), sum(s[1] for s in sums)) == of(data)


def test_each_change_of_a_word_and_each_exchange_is_seen():
    rng = np.random.default_rng(4)
    data = bytearray(rng.bytes(20_000))
    whole = of(bytes(data))
    for _ in range(300):
        changed = bytearray(data)
        place = int(rng.integers(len(data)))
        changed[place] ^= 1 << int(rng.integers(8))
        assert of(bytes(changed)) != whole
    for _ in range(100):
        one, two = sorted(int(place) * 1024 for place in rng.choice(19, 2, replace=False))
        changed = bytearray(data)
        changed[one : one + 1024], changed[two : two + 1024] = data[two : two + 1024], data[one : one + 1024]
        assert of(bytes(changed)) != whole
    assert of(bytes(data) + b"\1") != whole


def test_another_key_gives_another_fingerprint():
    data = b"x" * 5000
    assert of(data) != kernels.fingerprint(memoryview(data), 0, fingerprint.key(os.urandom(fingerprint.KEY_BYTES)))


@pytest.mark.parametrize("offset", [0, 2, 4, 1000, 1023, 1024, 4098])
@pytest.mark.parametrize("items", [0, 1, 255, 256, 257, 20_000])
def test_what_is_read_is_summed_and_noted_as_by_one_after_the_other(tmp_path, offset, items):
    contents = [np.random.default_rng(seed).bytes(30_000 * 4) for seed in range(3)]
    contents = [np.frombuffer(each, "<u4") & np.uint32(0xBFFFFFFF) for each in contents]  # no NaN: none is beyond 2
    weights = [1 / 3, -1.5, 7e-30]
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context((tmp_path / str(seed)).open("w+b", 0)) for seed in range(3)]
        terms = np.zeros(3, kernels.READ)
        for file, content, weight, each in zip(files, contents, weights, terms, strict=True):
            file.write(content.tobytes())
            each["offset"], each["file"], each["weight"] = offset, file.fileno(), weight
        total, expected = np.full(items, np.nan, np.float32), np.zeros(items, np.float32)
        room = memoryview(bytearray(total.nbytes))
        assert kernels.sum_read_f32(total, terms, pread(), room, KEY) == 3
    for content, weight, each in zip(contents, weights, terms, strict=True):
        data = content.tobytes()[offset : offset + 4 * items]
        kernels.add_scaled(expected, np.frombuffer(data, np.float32), weight, np.empty(items, np.float32))
        assert fingerprint.total(*each["sums"].tolist()) == of(data, offset)
    assert total.tobytes() == expected.tobytes()


@pytest.mark.parametrize("there", [0, 4, 1000, 3999])
def test_of_a_file_that_ends_too_early_nothing_is_added(tmp_path, there):
    whole, short = tmp_path / "whole", tmp_path / "short"
    whole.write_bytes(np.ones(1000, np.float32).tobytes())
    short.write_bytes(np.ones(1000, np.float32).tobytes()[:there])
    with whole.open("rb") as one, short.open("rb") as two:
        terms = np.array([(0, file.fileno(), 2, (0, 0)) for file in (one, two, one)], kernels.READ)
        total = np.zeros(1000, np.float32)
        assert kernels.sum_read_f32(total, terms, pread(), memoryview(bytearray(4000)), KEY) == 1
    assert np.array_equal(total, np.full(1000, 2, np.float32))
    assert not terms["sums"][1:].any()


def test_what_is_read_in_small_parts_is_the_same(tmp_path):
    """As on a file system that gives no more at a time, and after signals."""
    data = np.random.default_rng(1).normal(size=1000).astype(np.float32)
    (tmp_path / "file").write_bytes(data.tobytes())
    with (tmp_path / "file").open("rb") as file:

        @ctypes.CFUNCTYPE(ctypes.c_ssize_t, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64)
        def little(number, buffer, size, offset):
            part = os.pread(number, min(size, 77), offset)
            ctypes.memmove(buffer, part, len(part))
            return len(part)

        terms = np.array([(0, file.fileno(), 0.5, (0, 0))], kernels.READ)
        total, read = np.zeros(1000, np.float32), ctypes.cast(little, ctypes.c_void_p).value
        assert kernels.sum_read_f32(total, terms, read, memoryview(bytearray(4000)), KEY) == 1
    assert np.array_equal(total, data * np.float32(0.5))
    assert fingerprint.total(*terms["sums"][0].tolist()) == of(data.tobytes())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", [1, 2, 3, 20, 33])
def test_ranks_have_the_bits_of_numpy(count, size, without):
    """Of all finite numbers but negative zeros, which who calls it has made positive."""
    rows = [
        np.nan_to_num(np.resize(block, size), posinf=3e38, neginf=-3e38) + np.float32(0)
        for block in values("<f4", size)
    ]
    rows = [np.roll(rows[index % 5], index * 7) for index in range(count)]
    wanted = {0, (count - 1) // 2, count // 2, count - 1}

    def ranked() -> list[bytes]:
        found = sorting.ranked([row.copy() for row in rows], wanted, np.empty(size, np.float32))
        return [found[rank].tobytes() for rank in sorted(wanted)]

    compiled = ranked()
    assert compiled == [np.sort(rows, axis=0)[rank].tobytes() for rank in sorted(wanted)]
    without()
    assert ranked() == compiled


@pytest.mark.parametrize("size", SIZES)
def test_sums_of_squares_have_the_bits_of_their_definition(size, without):
    block = np.nan_to_num(values("<f4", size)[0], nan=1.0, posinf=2.0, neginf=-2.0)
    lanes = [0.0] * 16
    for at, item in enumerate(block.astype("f8").tolist()):
        lanes[at % 16] += item * item
    expected = reduce(add, lanes, 0.0)
    assert kernels.squares(block) == kernels.squares(block.astype("f8")) == expected
    without()
    assert kernels.squares(block) == expected
