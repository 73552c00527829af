"""Gigabytes of float32 a second that codecs go through on one core: the trainer's own encoder, the hub's own reader and fold.

What is measured is fedcore's arithmetic as it is called in a round, over arrays in memory; files, TLS and digests are the business
of other rows. Used by int8_ and topk_ cases.
"""

import time
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from fedaggregator.engine import decoding
from fedaggregator.engine.decoding import Layout
from fedapi.wire.compression import Codec, Encoding
from fedcore.compression import fileform
from fedcore.compression.codec import PASS_ITEMS, noise
from fedcore.tensors import arithmetic, tensorfile
from fedcore.tensors.tensorfile import Tensor
from fedstore.memory import MemoryReader

ITEMS, TURNS = 25_000_000, 5
SPAN_ITEMS = 1 << 18  # of a fold
UPDATES = 4


def values() -> Any:
    """25 M float32 as updates have them: most of them small."""
    chance = np.random.default_rng(1)
    found = chance.standard_normal(ITEMS, dtype=np.float32)
    return found * np.float32(1e-3)


def encode_gbs(codec: Codec, fraction: float | None = None) -> float:
    """The best of several turns: from float32 to the bytes of the file."""
    given, encoding = values(), Encoding.model_validate({"codec": codec, "fraction": fraction})
    return max(_encode(given, encoding)[0] for _ in range(TURNS))


def fold_gbs(codec: Codec) -> float:
    """The same from the bytes of files to a weighted sum, in spans, of several updates."""
    _, file = _encode(values(), encoding := Encoding.model_validate({"codec": codec}))
    base = tensorfile.canonical_header([_tensor()])[1]
    header = fileform.header(base.tensors, frozenset({"w"}), encoding)[0]
    data = header + file
    table = tensorfile.parsed(header[8:], len(data))
    readers = [
        decoding.opened("u", MemoryReader("u", data), table, Layout.of(base), codec, str) for _ in range(UPDATES)
    ]
    return max(_fold(readers, base.tensors[0].begin) for _ in range(TURNS))


def _tensor() -> Tensor:
    return Tensor("w", "F32", (ITEMS,), 0, 4 * ITEMS)


def _encode(given: Any, encoding: Encoding) -> tuple[float, bytes]:
    def passes() -> Iterator[Any]:
        return (given[at : at + PASS_ITEMS] for at in range(0, ITEMS, PASS_ITEMS))

    file = bytearray(5 * ITEMS)
    at, started = 0, time.monotonic()
    for part in fileform.codec_of(encoding).encode(passes, fileform.kind_of(_tensor()), encoding, noise(3)):
        file[at : at + part.nbytes] = part.reshape(-1).view(np.uint8).data
        at += part.nbytes
    return 4 * ITEMS / (time.monotonic() - started) / 1e9, bytes(file[:at])


def _fold(readers: list[Any], begin: int) -> float:
    room = memoryview(bytearray(4 * SPAN_ITEMS))
    accumulator = arithmetic.Accumulator.of("F32", SPAN_ITEMS)
    weight = Fraction(1, UPDATES)
    started = time.monotonic()
    for at in range(0, ITEMS, SPAN_ITEMS):
        part = room[: 4 * min(SPAN_ITEMS, ITEMS - at)]

        def terms(part: memoryview = part, at: int = at) -> Iterator[tuple[Fraction, Any]]:
            for reader in readers:
                reader.read_into(part, begin + 4 * at)
                yield weight, np.frombuffer(part, np.float32)

        arithmetic.weighted_sum(terms(), accumulator.first(part.nbytes // 4))
    return UPDATES * 4 * ITEMS / (time.monotonic() - started) / 1e9
