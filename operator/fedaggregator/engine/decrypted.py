"""An encrypted object, read as the plain file that a site made: any part of it, chunk by chunk. Called by payloads.py.

Nothing is handed out before the tag of its chunk was checked. Memory is two chunks for each thread that reads, whatever
is open: a chunk that two parts share is decrypted for each of them, at gigabytes a second.
"""

import threading
from collections.abc import Callable

from fedaggregator.errors import DamagedError
from fedapi.wire import ciphertext
from fedapi.wire.ciphertext import PREFIX_BYTES, TAG_BYTES, CiphertextError, Kem, Place
from fedapi.wire.encryption import Decryption, HubKey
from fedstore.errors import StoreFailedError
from fedstore.objectstore import Reader


class _Chunks(threading.local):
    """Of one thread: room for a chunk as it is stored, and the plain one that was asked for last."""

    def __init__(self) -> None:
        self.stored, self.plain = memoryview(b""), memoryview(b"")
        self.held: tuple[object, int] | None = None  # whose, and which

    def fit(self, chunk: int) -> None:
        """Makes room."""
        if self.plain.nbytes < chunk:
            self.stored, self.plain = memoryview(bytearray(chunk + TAG_BYTES)), memoryview(bytearray(chunk))
            self.held = None


_chunks = _Chunks()


class DecryptedReader:
    """The plain bytes. What is wrong with them is a DamagedError that names the object."""

    def __init__(
        self, key: str, decryption: Decryption, first: Reader, again: Reader, trouble: Callable[[], str]
    ) -> None:
        self._key, self._decryption, self._first, self._again = key, decryption, first, again
        self.trouble = trouble  # with what is stored, as who handed it in knows
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
        frame, done = self._decryption.frame, 0
        while done < buffer.nbytes:
            index, skip = divmod(offset + done, frame.chunk)
            size = frame.plain(index)
            part = buffer[done : done + size - skip]
            if part.nbytes == size:
                self._next_into(index, part)
            else:
                part[:] = self._held(index, size)[skip : skip + part.nbytes]
            done += part.nbytes

    def check_end(self) -> None:
        """DamagedError unless the object ends where it was ended."""
        frame = self._decryption.frame
        _chunks.fit(frame.chunk)
        _chunks.held = None
        self._decrypt(frame.chunks - 1, _chunks.plain[: frame.plain(frame.chunks - 1)], self._again)

    def _held(self, index: int, size: int) -> memoryview:
        """A plain chunk; valid until the thread asks for another."""
        _chunks.fit(self._decryption.frame.chunk)
        if _chunks.held != (self._mark, index):
            _chunks.held = None
            self._next_into(index, _chunks.plain[:size])
            _chunks.held = (self._mark, index)
        return _chunks.plain[:size]

    def _next_into(self, index: int, plain: memoryview) -> None:
        """Chunk after chunk by `first`, which may measure what is stored; by `again` what was read before."""
        reader = self._again if index < self._next else self._first
        self._next = max(self._next, index + 1)
        self._decrypt(index, plain, reader)

    def _decrypt(self, index: int, plain: memoryview, reader: Reader) -> None:
        frame = self._decryption.frame
        offset, size = frame.stored(index)
        _chunks.fit(frame.chunk)
        stored = _chunks.stored[:size]
        reader.read_into(stored, offset)
        try:
            self._decryption.chunk(index, stored, plain)
        except CiphertextError as error:
            raise DamagedError({self._key: str(error)}) from error


def opened(
    key: str, kem: Kem, place: Place, hub_key: HubKey, first: Reader, again: Reader, trouble: Callable[[], str]
) -> DecryptedReader:
    """The reader of an object, once its header and its end are those of a payload for that place; DamagedError if not."""
    try:
        header = _read(first, 0, min(PREFIX_BYTES, first.size))
        rest = ciphertext.header_bytes(header) - PREFIX_BYTES
        header += _read(first, PREFIX_BYTES, min(rest, first.size - PREFIX_BYTES))
        decryption = hub_key.opened(header, first.size, kem, place)
    except CiphertextError as error:
        raise DamagedError({key: str(error)}) from error
    reader = DecryptedReader(key, decryption, first, again, trouble)
    reader.check_end()
    return reader


def _read(reader: Reader, offset: int, size: int) -> bytes:
    part = bytearray(size)
    reader.read_into(memoryview(part), offset)
    return bytes(part)
