"""Classes of storage that are cheap to keep and slow to read: a port beside objectstore's, for stores that have one.

Used by fedbackup alone: a job's own objects are sent there by the bucket's lifecycle rules.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from fedstore.bucketstore import BucketStore
from fedstore.objectstore import ObjectStore


@runtime_checkable
class ColdClass(Protocol):
    """A store, or a bucket by its own names, with a class from which objects must be asked for before they can be read."""

    @property
    def thaw_takes(self) -> str:
        """For a person: "3 to 5 hours"."""

    def freeze(self, key: str) -> None:
        """Sends an object there; one that is there already is fine."""

    def thawed(self, key: str) -> bool:
        """Asks for an object to be readable, unless it is or was asked for already; whether it can be read now."""


def cold_class(store: ObjectStore) -> ColdClass | None:
    """That of a store, by its keys; None where it has none."""
    if isinstance(store, BucketStore):
        return _OfBucket(store, store.bucket) if isinstance(store.bucket, ColdClass) else None
    return store if isinstance(store, ColdClass) else None


@dataclass(frozen=True)
class _OfBucket:
    store: BucketStore
    bucket: ColdClass

    @property
    def thaw_takes(self) -> str:
        return self.bucket.thaw_takes

    def freeze(self, key: str) -> None:
        self.bucket.freeze(self.store.name(key))

    def thawed(self, key: str) -> bool:
        return self.bucket.thawed(self.store.name(key))
