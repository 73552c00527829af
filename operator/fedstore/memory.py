"""The in-memory adapter: for tests and for trying things out. Passes the same contract suite as the disk adapter.

Nothing survives the process; `limit_bytes` makes it full.
"""

import hashlib
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from fedapi.wire.message import ObjectRef
from fedstore.announced import Content
from fedstore.errors import (
    AlreadyExistsError,
    HeadMovedError,
    MissingError,
    StoreFailedError,
    StoreFullError,
)
from fedstore.objectstore import DIGEST, Head, checked_key, holds_itself


class MemoryWriter:
    """An object in the making."""

    def __init__(self, store: "MemoryStore", key: str, size: int | None, sha256: str | None) -> None:
        self._store = store
        self._content, self._data = Content(key, size, sha256), bytearray()

    def write(self, chunk: bytes | bytearray | memoryview) -> None:
        """Appends."""
        with memoryview(chunk) as view:
            self._content.add(view)
        self._data += chunk

    def finish(self) -> ObjectRef:
        """Checks and shows."""
        ref = self._content.ref()
        self._store.add(ref.key, bytes(self._data), ref.sha256)
        return ref


class MemoryReader:
    """Bytes that are there."""

    def __init__(self, key: str, data: bytes) -> None:
        self._key, self._data = key, data

    @property
    def size(self) -> int:
        """Bytes of the object."""
        return len(self._data)

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """Copies."""
        part = self._data[offset : offset + buffer.nbytes]
        if len(part) < buffer.nbytes:
            raise StoreFailedError(f"{self._key}: the object ends at {offset + len(part)}, more was expected")
        buffer[:] = part


class MemoryStore:
    """Objects in a dictionary."""

    def __init__(self, limit_bytes: int | None = None) -> None:
        self._objects: dict[str, bytes] = {}
        self._limit_bytes = limit_bytes
        self._lock = threading.RLock()

    def clean(self, below: Iterable[str] = ("",)) -> None:
        """Nothing is left of what was not finished."""

    @contextmanager
    def writer(self, key: str, *, size: int | None = None, sha256: str | None = None) -> Iterator[MemoryWriter]:
        """Begins an object; see the port."""
        checked_key(key.replace(DIGEST, ""))
        yield MemoryWriter(self, key, size, sha256)

    def put_once(self, key: str, data: bytes) -> ObjectRef:
        """A small object in one call."""
        with self.writer(key, size=len(data)) as writer:
            writer.write(data)
            return writer.finish()

    def put_together(self, objects: Mapping[str, bytes]) -> None:
        """Small objects, one after the other."""
        for key, data in objects.items():
            self.put_once(key, data)

    def get(self, key: str) -> bytes:
        """A small object as bytes."""
        try:
            return self._objects[checked_key(key)]
        except KeyError:
            raise MissingError(f"{key}: there is no such object") from None

    @contextmanager
    def reader(self, key: str) -> Iterator[MemoryReader]:
        """Opens an object."""
        yield MemoryReader(key, self.get(key))

    def size(self, key: str) -> int | None:
        """Bytes of an object."""
        data = self._objects.get(checked_key(key))
        return None if data is None else len(data)

    def keys(self, prefix: str) -> Iterator[str]:
        """Keys that begin with this text."""
        return iter(sorted(key for key in self._objects if key.startswith(prefix)))

    def delete(self, key: str) -> None:
        """Removes an object."""
        self._objects.pop(checked_key(key), None)

    def head(self, key: str) -> Head | None:
        """The HEAD object."""
        data = self._objects.get(checked_key(key))
        return None if data is None else Head(data, hashlib.sha256(data).hexdigest())

    def replace_head(self, key: str, data: bytes, expected: str | None) -> Head:
        """Compares and sets."""
        with self._lock:
            now = self.head(key)
            if (now.tag if now else None) != expected:
                raise HeadMovedError(f"{key} was replaced by another process")
            self._make_room(len(data) - len(now.data if now else b""))
            self._objects[key] = data
        return Head(data, hashlib.sha256(data).hexdigest())

    def add(self, key: str, data: bytes, sha256: str) -> None:
        """An object, once; a damaged object that should be this one makes room for it."""
        with self._lock:
            before = self._objects.get(key)
            if before is not None and before != data and not holds_itself(key, sha256):
                raise AlreadyExistsError(f"{key} holds other content, and objects are written once")
            if before != data:
                self._make_room(len(data) - len(before or b""))
                self._objects[key] = data

    def _make_room(self, more: int) -> None:
        used = sum(len(data) for data in self._objects.values())
        if self._limit_bytes is not None and used + more > self._limit_bytes:
            raise StoreFullError(f"{used + more} bytes are over the limit of {self._limit_bytes}")
