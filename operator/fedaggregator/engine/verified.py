"""Readers that check what they read: an object is only what its digest says. Called by all of the engine.

What this process hashed before is known by its fingerprint (fingerprints.py), in whatever order and by whichever threads it
is read; anything else by its SHA-256, made of the blocks that the reader hands out anyway: only a file whose tensors are
asked for in another order than they lie in is read once more. `ahead` reads large blocks in threads beside the one that computes.
"""

import hashlib
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol

from fedaggregator.engine.fingerprints import Fingerprints
from fedaggregator.errors import DamagedError
from fedapi.wire.message import ObjectRef
from fedcore.tensors import fingerprint
from fedcore.tensors.fingerprint import Fingerprint
from fedstore.blocks import blocks
from fedstore.errors import MissingError
from fedstore.native import Native
from fedstore.objectstore import ObjectStore, Reader

BLOCK_BYTES = 1 << 20  # fits the processor's cache; a multiple of every item size
_ASIDE_BYTES = 256 << 10  # of less, handing it to another thread costs more than reading and hashing it
Extent = tuple[int, int]  # offset in an object, and bytes


class Checked(Reader, Protocol):
    """An open object, of which it turns out whether it is what its digest says."""

    @property
    def in_turn(self) -> bool:
        """Whether its parts are to be read one after the other, as they lie; else any threads may read any parts at once."""

    def trouble(self) -> str:
        """What is wrong with the object, empty when nothing is. Reads what was not read."""


class Verified(Checked, Protocol):
    """One that sees what is stored."""

    @property
    def unhashed(self) -> Reader:
        """The same without a look at what is read: for who says himself what was read first (`saw`)."""

    def saw(self, part: memoryview, offset: int) -> None:
        """Takes note of a part of the object, which was read."""


class HashedReader:
    """By its SHA-256. Used by one thread at a time."""

    in_turn = True

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
        """As the protocol says."""
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
            for _ in blocks(self):
                pass
        found = self._hash.hexdigest()
        return "" if found == self._ref.sha256 else f"its SHA-256 is {found}, not {self._ref.sha256}"


class KnownReader:
    """By its fingerprint. Used by any threads."""

    def __init__(self, reader: Reader, ref: ObjectRef, fingerprints: Fingerprints, known: Fingerprint) -> None:
        self._reader, self._ref, self.fingerprints, self._known = reader, ref, fingerprints, known
        self.native = _native(reader)
        self.in_turn = False
        self._lock = threading.Lock()
        self._first = self._second = self._seen = 0

    @property
    def size(self) -> int:
        """Bytes of the object."""
        return self._reader.size

    @property
    def unhashed(self) -> Reader:
        """As the protocol says."""
        return self._reader

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """As the port says."""
        self._reader.read_into(buffer, offset)
        self.saw(buffer, offset)

    def saw(self, part: memoryview, offset: int) -> None:
        """Takes note of a part of the object, which was read: each is to be read once."""
        self.note(self.fingerprints.part(part, offset), part.nbytes)

    def note(self, found: Fingerprint, count: int) -> None:
        """The same, of so many bytes that somebody else has read and looked at."""
        with self._lock:
            self._first += found[0]
            self._second += found[1]
            self._seen += count

    def trouble(self) -> str:
        """What is wrong with the object, empty when nothing is. Reads all of it, unless all of it was read once."""
        if self._seen != self.size:
            self._first = self._second = self._seen = 0
            for _ in blocks(self):
                pass
        if fingerprint.total(self._first, self._second) == self._known:
            return ""
        return HashedReader(self._reader, self._ref).trouble() or _UNLIKE


def _native(reader: Reader) -> Native | None:
    """Of a file of this machine; a look at its class costs more than many reads."""
    return getattr(reader, "native", None)


_UNLIKE = "what was read of it is not what it is, as another look says: the disk or the memory is not to be trusted"


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
def verified(store: ObjectStore, ref: ObjectRef, fingerprints: Fingerprints | None = None) -> Iterator[Verified]:
    """Opens an object; DamagedError when it is missing, no file, or of another size."""
    with ExitStack() as files:
        try:
            reader = files.enter_context(store.reader(ref.key))
        except MissingError as error:
            raise DamagedError({ref.key: "it is missing, or is not a file"}) from error
        if reader.size != ref.size:
            raise DamagedError({ref.key: f"it has {reader.size} bytes, not {ref.size}"})
        known = fingerprints.of(ref) if fingerprints is not None else None
        if fingerprints is None or known is None:
            yield HashedReader(reader, ref)
        else:
            yield KnownReader(reader, ref, fingerprints, known)


def check(store: ObjectStore, ref: ObjectRef) -> None:
    """Damaged unless the object is whole. Reads all of it."""
    with verified(store, ref) as reader:
        trouble = reader.trouble()
    if trouble:
        raise DamagedError({ref.key: trouble})
