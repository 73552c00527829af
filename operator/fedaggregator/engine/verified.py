"""Readers that check what they read: an object is only what its digest says. Called by all of the engine.

The digest is made of the blocks that the reader hands out anyway, in a thread beside the one that computes with them;
only a file whose tensors are asked for in another order than they lie in is read once more.
"""

import hashlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

from fedaggregator.errors import DamagedError
from fedapi.wire.message import ObjectRef
from fedstore.errors import MissingError
from fedstore.objectstore import ObjectStore, Reader

BLOCK_BYTES = 1 << 20  # fits the processor's cache; a multiple of every item size
_ASIDE_BYTES = 256 << 10  # of less, handing it to another thread costs more than hashing it


class Block:
    """A buffer that is read into again and again; not before its last bytes are hashed."""

    def __init__(self, size: int) -> None:
        self._bytes = bytearray(size)
        self.hashing: Future[None] | None = None

    def view(self, size: int) -> memoryview:
        """The first bytes, free to be overwritten."""
        if self.hashing is not None:
            self.hashing.result()
            self.hashing = None
        return memoryview(self._bytes)[:size]


class VerifiedReader:
    """An open object and the digest of what was read of it so far."""

    def __init__(self, reader: Reader, ref: ObjectRef, threads: ThreadPoolExecutor) -> None:
        self._reader, self._ref, self._threads = reader, ref, threads
        self._hash = hashlib.sha256()
        self._position: int | None = 0  # up to where it is hashed; None: read out of order
        self._hashing: Future[None] | None = None

    @property
    def size(self) -> int:
        """Bytes of the object."""
        return self._reader.size

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """As the port says; the buffer is hashed before this returns."""
        self._reader.read_into(buffer, offset)
        if self._follows(buffer, offset):
            self._settle()
            self._hash.update(buffer)

    def read_block(self, block: Block, size: int, offset: int) -> memoryview:
        """Bytes in a block, which is hashed while the caller computes with it."""
        view = block.view(size)
        self._reader.read_into(view, offset)
        if self._follows(view, offset):
            self._settle()
            if size < _ASIDE_BYTES:
                self._hash.update(view)
            else:
                self._hashing = block.hashing = self._threads.submit(self._hash.update, view)
        return view

    def trouble(self) -> str:
        """What is wrong with the object, empty when nothing is. Reads what was not read in order."""
        self._settle()
        if self._position != self.size:
            self._position, self._hash = 0, hashlib.sha256()
            block = memoryview(bytearray(BLOCK_BYTES))
            for offset in range(0, self.size, BLOCK_BYTES):
                self.read_into(block[: min(BLOCK_BYTES, self.size - offset)], offset)
        found = self._hash.hexdigest()
        return "" if found == self._ref.sha256 else f"its SHA-256 is {found}, not {self._ref.sha256}"

    def _follows(self, buffer: memoryview, offset: int) -> bool:
        if self._position == offset:
            self._position = offset + buffer.nbytes
            return True
        if buffer.nbytes:
            self._position = None
        return False

    def _settle(self) -> None:
        if self._hashing is not None:
            self._hashing.result()
            self._hashing = None


@contextmanager
def verified(store: ObjectStore, ref: ObjectRef, threads: ThreadPoolExecutor) -> Iterator[VerifiedReader]:
    """Opens an object; DamagedError when it is missing, no file, or of another size."""
    with ExitStack() as files:
        try:
            reader = files.enter_context(store.reader(ref.key))
        except MissingError as error:
            raise DamagedError({ref.key: "it is missing, or is not a file"}) from error
        if reader.size != ref.size:
            raise DamagedError({ref.key: f"it has {reader.size} bytes, not {ref.size}"})
        yield VerifiedReader(reader, ref, threads)


def check(store: ObjectStore, ref: ObjectRef) -> None:
    """Damaged unless the object is whole. Reads all of it."""
    with ThreadPoolExecutor(1) as threads, verified(store, ref, threads) as reader:
        trouble = reader.trouble()
    if trouble:
        raise DamagedError({ref.key: trouble})
