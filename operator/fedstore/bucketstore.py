"""A store of objects in a bucket: the rules of the port, for all clouds, over bucket.py's few calls. Called by opening.py.

Memory does not depend on sizes: what is larger than a part is sent in parts while it is written, or, where its key is known
only at its end, kept in a temporary file without a name until then. A lost answer is told from a lost race: content that
is there already is compared by reading it, and HEAD carries a mark of the write that made it.
"""

import hashlib
import secrets
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import IO

from fedapi.wire.message import ObjectRef
from fedstore.announced import Content
from fedstore.blocks import blocks
from fedstore.bucket import SHA256, Bucket, ConflictError, Stat
from fedstore.errors import (
    AlreadyExistsError,
    HeadMovedError,
    MissingError,
    StoreFailedError,
    StoreFullError,
)
from fedstore.objectstore import DIGEST, Head, Writer, checked_key, holds_itself, is_key
from fedstore.parts import Parts
from fedstore.presigning import Presigned
from fedstore.readahead import Budget, ReadAhead

MARK = "write"  # in the metadata of a HEAD object: which write made it
_COPY_BYTES = 8 << 20


class BucketWriter:
    """An object on its way: whole in memory while it is small, then in parts."""

    def __init__(self, store: "BucketStore", key: str, size: int | None, sha256: str | None) -> None:
        self._store, self._key, self._sha256 = store, key, sha256
        self._content = Content(key, size, sha256)
        self._parts = Parts(store.bucket, size, store.threads)
        self._skipped = False  # it is there already, or cannot come there by this upload
        self._conflict: ConflictError | None = None  # why not

    def write(self, chunk: bytes | bytearray | memoryview) -> None:
        """Sends every part that is full, once there is more than one."""
        with memoryview(chunk) as view, view.cast("B") as data:
            self._content.add(data)
            if self._skipped:
                return
            if not self._parts.begun and not self._parts.hold(data.nbytes):
                self._begin()
            if not self._skipped:
                self._add(data)

    def finish(self) -> ObjectRef:
        """Checks, and makes it visible."""
        ref = self._content.ref()
        if self._conflict is not None:
            self._store.must_hold(ref, self._conflict)
        if self._skipped:
            return ref
        if not self._parts.begun:
            self._store.put_small(ref, self._parts.rest())
            return ref
        try:
            self._parts.complete()
        except ConflictError as error:
            self._store.must_hold(ref, error)
        return ref

    def close(self) -> None:
        """Forgets what was not finished."""
        self._parts.close()

    def _add(self, data: memoryview) -> None:
        """A store may say before the end that the object is there, or that another process has ended the upload."""
        try:
            self._parts.add(data)
        except ConflictError as error:
            self._skipped, self._conflict = True, error
            self._parts.close()

    def _begin(self) -> None:
        expected = None
        if self._sha256 is not None:
            there = self._store.stat(self._key)
            if there is not None and self._store.digest(self._key, there) == self._sha256:
                self._skipped = True
                return
            if there is not None and holds_itself(self._key, self._sha256):
                expected = there.tag
        metadata = {SHA256: self._sha256} if self._sha256 is not None else {}
        self._parts.begin(self._store.bucket.upload(self._store.name(self._key), expected, metadata))


class SpooledWriter:
    """An object whose key is known when all of it is."""

    def __init__(self, store: "BucketStore", key: str, size: int | None, file: IO[bytes]) -> None:
        self._store, self._file = store, file
        self._content = Content(key, size, None)

    def write(self, chunk: bytes | bytearray | memoryview) -> None:
        """Into the file."""
        with memoryview(chunk) as view:
            self._content.add(view)
            try:
                self._file.write(view)
            except OSError as error:
                raise StoreFullError(f"the folder for temporary files ({tempfile.gettempdir()}): {error}") from error

    def finish(self) -> ObjectRef:
        """Sends it."""
        ref = self._content.ref()
        self._file.seek(0)
        with self._store.writer(ref.key, size=ref.size, sha256=ref.sha256) as writer:
            while block := self._file.read(_COPY_BYTES):
                writer.write(block)
            return writer.finish()


class BucketReader:
    """An object as it was when it was opened."""

    def __init__(self, bucket: Bucket, name: str, there: Stat, threads: Callable[[], ThreadPoolExecutor]) -> None:
        self._bucket, self._name, self._there, self._threads = bucket, name, there, threads

    @property
    def size(self) -> int:
        """Bytes of the object."""
        return self._there.size

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """By one request, or several at once for a large buffer."""
        if not buffer.nbytes:
            return
        end = offset + buffer.nbytes
        if end > self.size:
            raise StoreFailedError(f"{self._name}: the object ends at {self.size}, more was expected")
        step = self._bucket.part_bytes
        pieces = [(at, buffer[at : at + step]) for at in range(0, buffer.nbytes, step)]
        if len(pieces) == 1:
            self.request(buffer, offset)
            return
        done = [self._threads().submit(self.request, piece, offset + at) for at, piece in pieces]
        for each in done:
            each.result()

    def request(self, buffer: memoryview, offset: int) -> None:
        """Fills the buffer by one request, without a look at the end."""
        self._bucket.read_into(self._name, self._there.tag, buffer, offset)


class BucketStore:
    """Objects of a bucket below a prefix."""

    def __init__(self, bucket: Bucket, prefix: str = "") -> None:
        self.bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._threads: ThreadPoolExecutor | None = None
        self._windows = Budget()

    def threads(self) -> ThreadPoolExecutor:
        """Shared by the readers and writers of the store."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(max(self.bucket.threads, 4), thread_name_prefix="store")
        return self._threads

    def name(self, key: str) -> str:
        """Of an object in the bucket."""
        return self._prefix + checked_key(key)

    def clean(self, below: Iterable[str] = ("",)) -> None:
        """Forgets uploads that killed writers left."""
        for prefix in below:
            self.bucket.abandon(self._prefix + prefix)

    @contextmanager
    def writer(self, key: str, *, size: int | None = None, sha256: str | None = None) -> Iterator[Writer]:
        """Begins an object; see the port."""
        checked_key(key.replace(DIGEST, ""))
        if sha256 is not None:
            key = key.replace(DIGEST, sha256)
        if DIGEST in key:
            with tempfile.SpooledTemporaryFile(max_size=self.bucket.part_bytes) as file:
                yield SpooledWriter(self, key, size, file)
            return
        writer = BucketWriter(self, key, size, sha256)
        try:
            yield writer
        finally:
            writer.close()

    def put_once(self, key: str, data: bytes) -> ObjectRef:
        """A small object in one call."""
        with self.writer(key, size=len(data)) as writer:
            writer.write(data)
            return writer.finish()

    def put_together(self, objects: Mapping[str, bytes]) -> None:
        """One after the other: each is durable before the next is begun."""
        for key in objects:
            checked_key(key)
        for key, data in objects.items():
            self.put_once(key, data)

    def get(self, key: str) -> bytes:
        """A small object as bytes."""
        return self.bucket.get(self.name(key))[0]

    @contextmanager
    def reader(self, key: str) -> Iterator[ReadAhead]:
        """Opens an object."""
        there = self.stat(key)
        if there is None:
            raise MissingError(f"{key}: there is no such object")
        plain = BucketReader(self.bucket, self.name(key), there, self.threads)
        reader = ReadAhead(plain, self._windows, self.threads)
        self._windows.opened()
        try:
            yield reader
        finally:
            self._windows.closed()
            reader.close()

    def stat(self, key: str) -> Stat | None:
        """What the bucket knows of an object."""
        return self.bucket.stat(self.name(key))

    def size(self, key: str) -> int | None:
        """Bytes of an object."""
        there = self.stat(key)
        return None if there is None else there.size

    def keys(self, prefix: str) -> Iterator[str]:
        """Keys that begin with this text."""
        if folder := prefix.rpartition("/")[0]:
            checked_key(folder)
        keys = (name.removeprefix(self._prefix) for name in self.bucket.names(self._prefix + prefix))
        return (key for key in keys if is_key(key))

    def delete(self, key: str) -> None:
        """Removes an object."""
        self.bucket.delete(self.name(key))

    def head(self, key: str) -> Head | None:
        """The HEAD object."""
        try:
            return Head(*self.bucket.get(self.name(key)))
        except MissingError:
            return None

    def replace_head(self, key: str, data: bytes, expected: str | None) -> Head:
        """A conditional write. What is there is ours when it carries our mark: only the answer was lost."""
        mark = secrets.token_hex(16)
        metadata = {SHA256: hashlib.sha256(data).hexdigest(), MARK: mark}
        try:
            return Head(data, self.bucket.put(self.name(key), data, expected, metadata))
        except ConflictError as error:
            there = self.stat(key)
            if there is not None and there.metadata.get(MARK) == mark:
                return Head(data, there.tag)
            raise HeadMovedError(f"{key} was replaced by another process") from error

    @property
    def largest_put_bytes(self) -> int:
        """What one request to a URL can bring."""
        return self.bucket.largest_put_bytes

    def ca(self) -> str:
        """The authority of the endpoint, PEM; empty where public ones do."""
        return self.bucket.ca()

    def region(self) -> str:
        """Where the bucket says that its objects are; empty where the cloud does not say."""
        return self.bucket.region()

    def presigned_get(self, ref: ObjectRef, now: float, lifetime_s: float) -> Presigned:
        """A URL to read an object."""
        return self.bucket.presigned_get(self.name(ref.key), now, lifetime_s)

    def presigned_put(self, ref: ObjectRef, now: float, lifetime_s: float) -> Presigned:
        """A URL to write an object."""
        return self.bucket.presigned_put(self.name(ref.key), ref, now, lifetime_s)

    def arrived(self, ref: ObjectRef) -> str:
        """What is wrong with an object that was put by URL: reads it, unless the bucket checked the digest itself."""
        there = self.stat(ref.key)
        if there is None:
            return "it is not there"
        if there.size != ref.size:
            return f"it has {there.size} bytes, not {ref.size}"
        found = there.checked_sha256 or self.digest(ref.key, there)
        return "" if found == ref.sha256 else f"its SHA-256 is {found}, not {ref.sha256}"

    def put_small(self, ref: ObjectRef, data: bytes | memoryview) -> None:
        """An object by one request, once; a damaged one that should be this makes room for it."""
        name, metadata = self.name(ref.key), {SHA256: ref.sha256}
        try:
            self.bucket.put(name, data, None, metadata)
        except ConflictError as error:
            there = self.stat(ref.key)
            if there is None or self.digest(ref.key, there) == ref.sha256 or not holds_itself(ref.key, ref.sha256):
                self.must_hold(ref, error)
                return
            try:
                self.bucket.put(name, data, there.tag, metadata)
            except ConflictError as again:
                self.must_hold(ref, again)

    def must_hold(self, ref: ObjectRef, conflict: ConflictError) -> None:
        """After a conflict: what is there must be this."""
        there = self.stat(ref.key)
        if there is None:
            raise StoreFailedError(f"{ref.key}: an object was there and is gone: try again") from conflict
        if self.digest(ref.key, there) == ref.sha256:
            return
        if holds_itself(ref.key, ref.sha256):
            raise StoreFailedError(f"{ref.key}: a damaged object is in the way: try again") from conflict
        raise AlreadyExistsError(f"{ref.key} holds other content, and objects are written once") from conflict

    def digest(self, key: str, there: Stat) -> str:
        """SHA-256 of what is there, by reading it."""
        found = hashlib.sha256()
        reader = BucketReader(self.bucket, self.name(key), there, self.threads)
        for block in blocks(reader):
            found.update(block)
        return found.hexdigest()
