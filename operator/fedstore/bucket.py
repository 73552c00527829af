"""The port of a bucket: what a cloud must offer so that bucketstore.py makes a store of it. One adapter per cloud.

Names are whole: with the prefix of the place in front. Adapters answer with this package's errors, ConflictError where a
condition was not met. They retry what may pass, as their SDK does; a write whose answer was lost may then find itself.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from fedapi.wire.message import ObjectRef
from fedstore.errors import StoreError
from fedstore.presigning import Presigned

SHA256 = "sha256"  # in an object's metadata: the digest of its content, where it was known when it was written


class ConflictError(StoreError):
    """Something is there, or is not what the condition said. Never leaves this package."""


@dataclass(frozen=True)
class Stat:
    """What a bucket knows of an object."""

    size: int
    tag: str  # of this content: what a conditional write compares
    metadata: Mapping[str, str] = field(default_factory=dict)
    checked_sha256: str = ""  # by the bucket itself, of all of the content; metadata is what the writer said


class Upload(Protocol):
    """A large object in the making, part by part."""

    def part(self, number: int, data: memoryview) -> None:
        """One part, from 1. Several threads call this at once, in no order, where the bucket takes more than one."""

    def complete(self) -> None:
        """Makes the object visible; ConflictError when its condition is not met."""

    def abort(self) -> None:
        """Forgets the parts; never raises."""


class Bucket(Protocol):
    """Objects by name, written conditionally."""

    part_bytes: int  # of an upload's parts, at least; an object of at most this size is put by one request
    most_parts: int  # of one upload
    threads: int  # parts under way at once; 1 where they must come in their order
    largest_put_bytes: int  # by one request to a URL

    def put(self, name: str, data: bytes | memoryview, expected: str | None, metadata: Mapping[str, str]) -> str:
        """Writes an object if its tag is the expected one (None: if there is none); its new tag."""

    def upload(self, name: str, expected: str | None, metadata: Mapping[str, str]) -> Upload:
        """Begins an object of several parts on the same condition."""

    def stat(self, name: str) -> Stat | None:
        """What there is; None when there is nothing."""

    def get(self, name: str) -> tuple[bytes, str]:
        """A small object and its tag; MissingError when there is none."""

    def read_into(self, name: str, tag: str, buffer: memoryview, offset: int) -> None:
        """Fills the buffer from that offset of the content with this tag; StoreFailedError when it has changed."""

    def names(self, prefix: str) -> Iterator[str]:
        """Names that begin with this text, in the order of their bytes."""

    def delete(self, name: str) -> None:
        """Removes an object; one that is not there is fine."""

    def abandon(self, prefix: str) -> None:
        """Forgets uploads below a prefix that nobody will complete, where the bucket does not do so by itself."""

    def ca(self) -> str:
        """The authority (PEM) of an endpoint of one's own, as the credentials have it now; empty where public ones do."""

    def region(self) -> str:
        """Where the bucket says that its objects are, in lower case; empty where the cloud does not say."""

    def presigned_get(self, name: str, now: float, lifetime_s: float) -> Presigned:
        """A URL to read an object; see the port of presigning."""

    def presigned_put(self, name: str, ref: ObjectRef, now: float, lifetime_s: float) -> Presigned:
        """A URL to write it once."""
