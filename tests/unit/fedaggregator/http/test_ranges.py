"""Which part of an object a request asks for: one range with both ends, or the whole."""

import pytest

from fedaggregator.http import ranges


class Ten:
    size = 10

    def read_into(self, buffer, offset):
        buffer[:] = bytes(range(10))[offset : offset + len(buffer)]


@pytest.mark.parametrize(
    "header",
    [None, "", "bytes=", "bytes=3-", "bytes=-3", "bytes=3-2", "bytes=0-10", "bytes=10-10", "bytes=0-1,3-4", "items=0-1",
     f"bytes=0-{'9' * 30}"],
)  # fmt: skip
def test_all_else_is_the_whole(header):
    assert ranges.asked(Ten(), header) is None


@pytest.mark.parametrize(("header", "begin", "end"), [("bytes=0-9", 0, 10), ("bytes=3-5", 3, 6), ("bytes=9-9", 9, 10)])
def test_a_range_with_both_ends(header, begin, end):
    part = ranges.asked(Ten(), header)
    found = memoryview(bytearray(part.size))
    part.read_into(found[:1], 0)
    part.read_into(found[1:], 1)
    assert bytes(found) == bytes(range(begin, end))
    assert part.content_range == f"bytes {begin}-{end - 1}/10".encode()
