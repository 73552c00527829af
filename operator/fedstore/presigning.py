"""URLs that an object store itself takes: who has one needs no credential. A port beside objectstore's, for stores that can.

A URL binds method, key, and, for what is put, size, SHA-256 and that nothing is there yet, where the store can bind them; what it
cannot bind its user checks before anything is parsed. URLs are authorizations: they are never logged.
"""

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from fedapi.wire.message import ObjectRef
from fedstore.objectstore import ObjectStore


@dataclass(frozen=True)
class Presigned:
    """A request that the store takes from anybody until it expires."""

    method: str
    url: str = field(repr=False)
    expires_at: float  # seconds since the epoch, by the clock that was passed in
    headers: dict[str, str] = field(default_factory=dict, repr=False)  # to be sent exactly so


@runtime_checkable
class Presigner(Protocol):
    """A store that makes such URLs. All calls block: some clouds sign by asking a service."""

    @property
    def largest_put_bytes(self) -> int:
        """The largest object that one request can put."""

    def ca(self) -> str:
        """PEM of the CA certificates by which the store's endpoint is verified now; empty: the system's roots."""

    def presigned_get(self, ref: ObjectRef, now: float, lifetime_s: float) -> Presigned:
        """To read an object."""

    def presigned_put(self, ref: ObjectRef, now: float, lifetime_s: float) -> Presigned:
        """To write an object once, with the size and the digest of the reference."""

    def arrived(self, ref: ObjectRef) -> str:
        """What is wrong with an object that was put by URL; empty when it is there, of that size and that SHA-256.

        By what the store says of it where the store checked it, else by reading it.
        """


@runtime_checkable
class PresigningStore(Presigner, ObjectStore, Protocol):
    """A store that sites are let at by URL."""
