"""Classes of storage that are cheap to keep and slow to read. A port beside objectstore's, for stores that have one.

Used by fedbackup alone: a job's own objects are sent there by the bucket's lifecycle rules.
"""

from typing import Protocol, runtime_checkable


@runtime_checkable
class ColdClass(Protocol):
    """A store with a class from which objects must be asked for before they can be read."""

    thaw_takes: str  # for a person: "3 to 5 hours"

    def freeze(self, key: str) -> None:
        """Sends an object there; one that is there already is fine."""

    def thawed(self, key: str) -> bool:
        """Asks for an object to be readable, unless it is or was asked for already; whether it can be read now."""
