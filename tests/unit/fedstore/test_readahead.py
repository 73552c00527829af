"""Windows over distant objects: the same bytes in whatever order, few requests, and a bounded memory for all readers."""

import contextlib
import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from fedstore.errors import StoreFailedError
from fedstore.readahead import Budget, ReadAhead

MIB = 1 << 20
STEP = 64 << 10
DATA = random.Random(7).randbytes(10 * MIB + 17)


class Object:
    """An object that counts requests and the bytes that they brought."""

    size = len(DATA)

    def __init__(self):
        self.requests: list[int] = []

    def request(self, buffer, offset):
        self.requests.append(buffer.nbytes)
        buffer[:] = DATA[offset : offset + buffer.nbytes]

    def read_into(self, buffer, offset):
        if offset + buffer.nbytes > self.size:
            raise StoreFailedError("the object is shorter")
        self.request(buffer, offset)


@pytest.fixture
def threads():
    with ThreadPoolExecutor(4) as pool:
        yield lambda: pool


def read(reader, offset, size):
    buffer = bytearray(size)
    reader.read_into(memoryview(buffer), offset)
    assert buffer == DATA[offset : offset + size]


def opened(threads, readers=1):
    budget, found = Budget(), Object()
    for _ in range(readers):
        budget.opened()
    return ReadAhead(found, budget, threads), found


def test_a_header_in_pieces_is_one_small_request(threads):
    reader, found = opened(threads)
    read(reader, 0, 8)
    read(reader, 8, 3000)
    assert found.requests == [64 << 10]


def test_blocks_in_their_order_are_a_request_per_window(threads):
    reader, found = opened(threads)
    for offset in range(0, len(DATA), 100_000):
        read(reader, offset, min(100_000, len(DATA) - offset))
    assert len(found.requests) == 4  # the header, and three windows of up to 4 MiB
    assert sum(found.requests) == len(DATA)
    reader.close()


def test_any_order_gives_the_same_bytes_and_never_brings_much_more_than_is_asked_for(threads):
    reader, found = opened(threads)
    places, asked = random.Random(3), 0
    for _ in range(200):
        size = places.choice((0, 1, 1000, 300_000, 5 * MIB))
        read(reader, places.randrange(0, len(DATA) - size), size)
        asked += size
    assert sum(found.requests) <= asked + 200 * (256 << 10)
    reader.close()


def test_of_a_thousand_readers_none_holds_a_window_worth_speaking_of(threads):
    reader, found = opened(threads, readers=1000)
    read(reader, 0, 8)
    assert found.requests[0] <= 24 * MIB // 1000
    for offset in range(8, 8 * MIB, MIB):
        read(reader, offset, MIB)
    assert reader._window.nbytes == 0
    assert max(found.requests) == MIB


def test_what_is_beyond_the_end_is_said(threads):
    reader, _ = opened(threads)
    read(reader, len(DATA) - 5, 5)
    with pytest.raises(StoreFailedError, match="shorter"):
        reader.read_into(memoryview(bytearray(6)), len(DATA) - 5)


def fails(_buffer, _offset):
    raise StoreFailedError("the store is down")


def test_what_failed_ahead_is_asked_for_again_by_who_reads_again(threads):
    reader, found = opened(threads)
    for at in range(0, MIB, STEP):
        read(reader, at, STEP)
    works, found.request = found.request, fails
    at = MIB  # what was asked for ahead before is read, then it fails
    with contextlib.suppress(StoreFailedError):
        for at in range(MIB, len(DATA) - STEP, STEP):
            read(reader, at, STEP)
    assert at < len(DATA) - 2 * STEP
    found.request = works
    read(reader, at, STEP)
