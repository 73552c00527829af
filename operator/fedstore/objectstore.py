"""The port that all stores implement, and the rule for keys. One contract suite tests every adapter.

Objects are write-once: putting equal content again is fine, other content raises AlreadyExistsError. A key that ends in the
SHA-256 of its content repairs itself: what it holds instead is damaged, and is replaced. Whoever sees an object sees all
of it, and it survives a power cut. Only HEAD objects are replaced by other content, by compare-and-swap.
All calls block: an event loop calls them in a thread.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from fedapi.wire.message import ObjectRef
from fedstore.errors import InvalidKeyError

DIGEST = "{sha256}"  # stands in a key for the digest of what is being written
_KEY = re.compile(r"^(?!\.)[A-Za-z0-9._-]+(/(?!\.)[A-Za-z0-9._-]+)*$")


class Head(NamedTuple):
    """Content of a HEAD object, and the tag that a swap compares."""

    data: bytes
    tag: str


class Writer(Protocol):
    """An object in the making. As a context manager it discards what was not finished."""

    def write(self, chunk: bytes | bytearray | memoryview) -> None:
        """Appends; raises ContentMismatchError as soon as the announced size is passed."""

    def finish(self) -> ObjectRef:
        """Checks size and digest and makes the object durable and visible, at once and whole."""


class Reader(Protocol):
    """Random access to an object's bytes."""

    @property
    def size(self) -> int:
        """Bytes of the object."""

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """Fills the buffer from that offset; StoreFailedError when the object is shorter."""


class ObjectStore(Protocol):
    """A job's objects by key."""

    def clean(self, below: Iterable[str] = ("",)) -> None:
        """Removes what killed writers left of keys with these beginnings. For the one process that writes them, at its start.

        A bucket may hold other jobs, whose writers live. A volume is one job's: there all that was left goes.
        """

    def writer(self, key: str, *, size: int | None = None, sha256: str | None = None) -> AbstractContextManager[Writer]:
        """Begins an object whose size and digest are announced, or measured where they are None.

        A key may contain DIGEST: it is replaced by the SHA-256 when the object is finished.
        """

    def put_once(self, key: str, data: bytes) -> ObjectRef:
        """A small object in one call."""

    def put_together(self, objects: Mapping[str, bytes]) -> None:
        """Small objects by key, which become visible in this order, and are durable together when this returns.

        Of those that a power cut meets any may be there, each of them whole; a killed process leaves the first ones.
        """

    def get(self, key: str) -> bytes:
        """A small object as bytes; MissingError when there is none."""

    def reader(self, key: str) -> AbstractContextManager[Reader]:
        """Opens an object; MissingError when there is none."""

    def size(self, key: str) -> int | None:
        """Bytes of an object, None when there is none."""

    def keys(self, prefix: str) -> Iterator[str]:
        """Keys that begin with this text, sorted; HEAD objects included. Foreign files may be among them.

        What cannot be a key is left out; a folder that cannot be listed is StoreFailedError, never empty.
        """

    def delete(self, key: str) -> None:
        """Removes an object; one that is not there is fine."""

    def head(self, key: str) -> Head | None:
        """The HEAD object, None when there is none."""

    def replace_head(self, key: str, data: bytes, expected: str | None) -> Head:
        """Sets HEAD if its tag is `expected` (None: if there is none); else HeadMovedError."""


def holds_itself(key: str, sha256: str) -> bool:
    """Whether the key says that its content has this digest."""
    return sha256 in key.rpartition("/")[2]


def is_key(key: str) -> bool:
    """Whether a path is one that objects can have."""
    return len(key) <= 1024 and _KEY.fullmatch(key) is not None


def checked_key(key: str) -> str:
    """The key, when it is a relative path of plain names that do not begin with a dot."""
    if not is_key(key):
        raise InvalidKeyError(f"{key[:80]!r} is not a key: use names of letters, digits, '.', '_', '-' between slashes")
    return key
