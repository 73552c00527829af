"""Readers that check what they read: an object is only what its digest says. Called by all of the engine.

The digest is made of the blocks that the reader hands out anyway; only a file whose tensors are asked for in another
order than they lie in is read once more. `ahead` reads and hashes large blocks in threads beside the one that computes.
"""

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol

from fedaggregator.errors import DamagedError
from fedapi.wire.message import ObjectRef
from fedstore.errors import MissingError
from fedstore.objectstore import ObjectStore, Reader

BLOCK_BYTES = 1 << 20  # fits the processor's cache; a multiple of every item size
_ASIDE_BYTES = 256 << 10  # of less, handing it to another thread costs more than reading and hashing it
Extent = tuple[int, int]  # offset in an object, and bytes


class Checked(Reader, Protocol):
    """An open object, of which it turns out whether it is what its digest says."""

    def trouble(self) -> str:
        """What is wrong with the object, empty when nothing is. Reads what was not read."""


class VerifiedReader:
    """An open object and the digest of what was read of it so far. Used by one thread at a time."""

    def __init__(self, reader: Reader, ref: ObjectRef) -> None:
        self._reader, self._ref = reader, ref
        self._hash = hashlib.sha256()
        self._position: int | None = 0  # up to where it is hashed; None: read out of order

    @property
    def size(self) -> int:
        """Bytes of the object."""
        return self._reader.size

    @property
    def unhashed(self) -> Reader:
        """The same without the digest: for who says himself what was read first (`saw`)."""
        return self._reader

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """As the port says; the buffer is hashed before this returns."""
        self._reader.read_into(buffer, offset)
        self.saw(buffer, offset)

    def saw(self, part: memoryview, offset: int) -> None:
        """Hashes a part of the object, as far as parts come in their order."""
        if self._position == offset:
            self._hash.update(part)
            self._position = offset + part.nbytes
        elif part.nbytes:
            self._position = None

    def trouble(self) -> str:
        """What is wrong with the object, empty when nothing is. Reads what was not read in order."""
        if self._position != self.size:
            self._position, self._hash = 0, hashlib.sha256()
            block = memoryview(bytearray(min(BLOCK_BYTES, self.size)))
            for offset in range(0, self.size, BLOCK_BYTES):
                self.read_into(block[: min(BLOCK_BYTES, self.size - offset)], offset)
        found = self._hash.hexdigest()
        return "" if found == self._ref.sha256 else f"its SHA-256 is {found}, not {self._ref.sha256}"


def gathered(reader: Reader, extents: Iterable[Extent], buffer: memoryview) -> memoryview:
    """The extents one after the other in the buffer: the part of it that they fill."""
    filled = 0
    for offset, size in extents:
        reader.read_into(buffer[filled : filled + size], offset)
        filled += size
    return buffer[:filled]


@dataclass(frozen=True)
class Request:
    """A block to be read: where from, and into which buffer."""

    reader: Reader
    extents: tuple[Extent, ...]
    buffer: memoryview

    def block(self) -> memoryview:
        """What was asked for."""
        return gathered(self.reader, self.extents, self.buffer)


def ahead(requests: Iterable[Request], threads: ThreadPoolExecutor, depth: int) -> Iterator[memoryview]:
    """The blocks in their order; up to `depth` requests are under way, which must be of as many readers.

    A block is valid until its buffer is asked for again: `depth` requests later at the earliest.
    """
    underway: deque[Future[memoryview]] = deque()
    try:
        for request in requests:
            if len(underway) == depth:
                yield underway.popleft().result()
            underway.append(_begun(request, threads))
        while underway:
            yield underway.popleft().result()
    finally:
        wait(underway)  # nobody reads any more, when one of them has failed


def _begun(request: Request, threads: ThreadPoolExecutor) -> Future[memoryview]:
    if sum(size for _, size in request.extents) >= _ASIDE_BYTES:
        return threads.submit(request.block)
    done: Future[memoryview] = Future()
    done.set_result(request.block())
    return done


@contextmanager
def verified(store: ObjectStore, ref: ObjectRef) -> Iterator[VerifiedReader]:
    """Opens an object; DamagedError when it is missing, no file, or of another size."""
    with ExitStack() as files:
        try:
            reader = files.enter_context(store.reader(ref.key))
        except MissingError as error:
            raise DamagedError({ref.key: "it is missing, or is not a file"}) from error
        if reader.size != ref.size:
            raise DamagedError({ref.key: f"it has {reader.size} bytes, not {ref.size}"})
        yield VerifiedReader(reader, ref)


def check(store: ObjectStore, ref: ObjectRef) -> None:
    """Damaged unless the object is whole. Reads all of it."""
    with verified(store, ref) as reader:
        trouble = reader.trouble()
    if trouble:
        raise DamagedError({ref.key: trouble})
