"""An encrypted object, read as the plain file that a site made: any part of it, chunk by chunk. Called by payloads.py.

Nothing is handed out before the tag of its chunk was checked. The chunks of a part are read at once, since a store that
is far away answers a request as slowly for one chunk as for many. Memory is that of one part for each thread that reads,
whatever is open: a chunk that two parts share is read and decrypted for each of them.
"""

import threading
from collections.abc import Callable

from fedaggregator.engine.verified import BLOCK_BYTES
from fedaggregator.errors import DamagedError
from fedapi.wire import ciphertext
from fedapi.wire.ciphertext import PREFIX_BYTES, TAG_BYTES, CiphertextError, Kem, Place
from fedapi.wire.encryption import Decryption, HubKey
from fedstore.errors import StoreFailedError
from fedstore.objectstore import Reader

Saw = Callable[[memoryview, int], None]  # bytes that were read for the first time, and where they lie


class _Scratch(threading.local):
    """Of one thread: room for chunks as they are stored, and the plain one that was last asked for in part."""

    def __init__(self) -> None:
        self.stored, self.plain = memoryview(b""), memoryview(b"")
        self.held: tuple[object, int] | None = None  # whose, and which

    def fit(self, stored: int, plain: int) -> None:
        """Makes room."""
        if self.stored.nbytes < stored:
            self.stored = memoryview(bytearray(stored))
        if self.plain.nbytes < plain:
            self.plain, self.held = memoryview(bytearray(plain)), None


_scratch = _Scratch()


class DecryptedReader:
    """The plain bytes. What is wrong with them is a DamagedError that names the object."""

    in_turn = True  # a chunk that two parts share is told of once

    def __init__(self, key: str, decryption: Decryption, stored: Reader, saw: Saw, trouble: Callable[[], str]) -> None:
        self._key, self._decryption, self._stored, self._saw = key, decryption, stored, saw
        self.trouble = trouble  # with what is stored, as who handed it in knows
        self._most = BLOCK_BYTES // decryption.frame.chunk + 2  # chunks at once: those of any part that a fold reads
        self._next = 0  # chunk that was not read before
        self._mark = object()

    @property
    def size(self) -> int:
        """Plain bytes."""
        return self._decryption.frame.size

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """As the port says."""
        if offset + buffer.nbytes > self.size:
            raise StoreFailedError(f"{self._key}: the payload ends at {self.size}, more was expected")
        if not buffer.nbytes:
            return
        chunk = self._decryption.frame.chunk
        first, last = offset // chunk, (offset + buffer.nbytes - 1) // chunk
        if first == last and _scratch.held == (self._mark, first):
            begin = offset - first * chunk
            buffer[:] = _scratch.plain[begin : begin + buffer.nbytes]
            return
        for index in range(first, last + 1, self._most):
            self._decrypted(buffer, offset, index, min(last, index + self._most - 1))

    def check_end(self) -> None:
        """DamagedError unless the object ends where it was ended."""
        frame = self._decryption.frame
        last = frame.chunks - 1
        stored = self._read(last, last)
        _scratch.held = None
        self._chunk(last, stored, _scratch.plain[: frame.plain(last)])

    def _decrypted(self, buffer: memoryview, offset: int, first: int, last: int) -> None:
        """What of these chunks belongs into the buffer, which is the plain file's from that offset."""
        frame, stored = self._decryption.frame, self._read(first, last)
        step = frame.chunk + TAG_BYTES
        if last >= self._next:
            new = max(first, self._next)
            self._saw(stored[(new - first) * step :], frame.stored(new)[0])
            self._next = last + 1
        for index in range(first, last + 1):
            begin, size = index * frame.chunk - offset, frame.plain(index)
            its = stored[(index - first) * step :][: size + TAG_BYTES]
            if begin >= 0 and begin + size <= buffer.nbytes:
                self._chunk(index, its, buffer[begin : begin + size])
                continue
            _scratch.held = None
            self._chunk(index, its, plain := _scratch.plain[:size])
            _scratch.held = (self._mark, index)
            a, b = max(begin, 0), min(begin + size, buffer.nbytes)
            buffer[a:b] = plain[a - begin : b - begin]

    def _read(self, first: int, last: int) -> memoryview:
        """Consecutive chunks as they are stored; valid until the thread asks for others."""
        frame = self._decryption.frame
        offset = frame.stored(first)[0]
        size = sum(frame.stored(last)) - offset
        _scratch.fit(size, frame.chunk)
        stored = _scratch.stored[:size]
        self._stored.read_into(stored, offset)
        return stored

    def _chunk(self, index: int, stored: memoryview, plain: memoryview) -> None:
        try:
            self._decryption.chunk(index, stored, plain)
        except CiphertextError as error:
            raise DamagedError({self._key: str(error)}) from error


def opened(
    key: str, kem: Kem, place: Place, hub_key: HubKey, stored: Reader, saw: Saw, trouble: Callable[[], str]
) -> DecryptedReader:
    """The reader of an object, once its header is that of a payload for that place; DamagedError if it is not."""
    try:
        prefix = _read(stored, 0, min(PREFIX_BYTES, stored.size))
        rest = ciphertext.header_bytes(prefix) - PREFIX_BYTES
        header = prefix + _read(stored, PREFIX_BYTES, min(rest, stored.size - PREFIX_BYTES))
        decryption = hub_key.opened(header, stored.size, kem, place)
    except CiphertextError as error:
        raise DamagedError({key: str(error)}) from error
    saw(memoryview(header), 0)
    return DecryptedReader(key, decryption, stored, saw, trouble)


def _read(reader: Reader, offset: int, size: int) -> bytes:
    part = bytearray(size)
    reader.read_into(memoryview(part), offset)
    return bytes(part)
