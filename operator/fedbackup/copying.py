"""Moves content between stores: block by block, checked against its digest on the way, in memory that does not grow.

The writer of the destination checks size and digest before anything gets its name: what is damaged at the source is never
there under the digest that it should have.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from threading import BoundedSemaphore
from typing import TypeVar

from fedapi.wire.message import ObjectRef
from fedbackup.errors import told
from fedstore.blocks import blocks
from fedstore.errors import ContentMismatchError, MissingError
from fedstore.objectstore import ObjectStore, Reader

THREADS = 16  # small objects at a time: over a network each is a wait and little else
LARGE_BYTES = 1 << 20
LARGE_AT_ONCE = 4  # of larger ones: reading, hashing and writing overlap, and memory stays small
SOURCE, DESTINATION, TARGET = "the job's store", "the backups' store", "the new job's store"
_large = BoundedSemaphore(LARGE_AT_ONCE)
_T = TypeVar("_T")
_R = TypeVar("_R")


class DamagedContentError(Exception):
    """An object is not what its digest says, or gone."""

    def __init__(self, key: str, what: str, *, gone: bool = False) -> None:
        super().__init__(f"{key}: {what}")
        self.key, self.what, self.gone = key, what, gone


@dataclass(frozen=True)
class End:
    """A store and what it is called where somebody reads of its trouble."""

    store: ObjectStore
    name: str


def copied(source: End, ref: ObjectRef, target: End, key: str) -> int:
    """Copies an object; its bytes. DamagedContentError when it is not what the reference says."""
    with _turn(ref), _opened(source, ref) as reader, told(target.name):
        try:
            with target.store.writer(key, size=ref.size, sha256=ref.sha256) as writer:
                for block in _blocks(source, reader):
                    writer.write(block)
                writer.finish()
        except ContentMismatchError as error:
            raise DamagedContentError(ref.key, str(error)) from error
    return ref.size


def checked(source: End, ref: ObjectRef) -> int:
    """Reads an object and keeps nothing of it; its bytes."""
    found = hashlib.sha256()
    with _turn(ref), _opened(source, ref) as reader:
        for block in _blocks(source, reader):
            found.update(block)
    if found.hexdigest() != ref.sha256:
        raise DamagedContentError(ref.key, f"its SHA-256 is {found.hexdigest()}, not {ref.sha256}")
    return ref.size


def measured(source: End, key: str) -> ObjectRef:
    """An object as it is, where nothing says what it should be. DamagedContentError when it is gone."""
    found = hashlib.sha256()
    with told(source.name):
        size = source.store.size(key)
    if size is None:
        raise DamagedContentError(key, "it is missing", gone=True)
    ref = ObjectRef(key=key, sha256="0" * 64, size=size)
    with _turn(ref), _opened(source, ref) as reader:
        for block in _blocks(source, reader):
            found.update(block)
    return ref.model_copy(update={"sha256": found.hexdigest()})


def together(work: Callable[[_T], _R], things: Iterable[_T]) -> Iterator[_R]:
    """Does it for each, several at a time; in their order. The first error ends it."""
    with ThreadPoolExecutor(THREADS, thread_name_prefix="copying") as pool:
        try:
            yield from pool.map(work, things)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _turn(ref: ObjectRef) -> AbstractContextManager[object]:
    """Few large objects are copied at a time."""
    return _large if ref.size > LARGE_BYTES else nullcontext()


@contextmanager
def _opened(source: End, ref: ObjectRef) -> Iterator[Reader]:
    """An object of the size that it should have."""
    with ExitStack() as files:
        with told(source.name):
            try:
                reader = files.enter_context(source.store.reader(ref.key))
            except MissingError as error:
                raise DamagedContentError(ref.key, "it is missing", gone=True) from error
        if reader.size != ref.size:
            raise DamagedContentError(ref.key, f"it has {reader.size} bytes, not {ref.size}")
        yield reader


def _blocks(source: End, reader: Reader) -> Iterator[memoryview]:
    """All of it; what fails in reading is the source's."""
    every = blocks(reader)
    while True:
        with told(source.name):
            block = next(every, None)
        if block is None:
            return
        yield block
