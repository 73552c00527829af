"""The port of bucket care. One adapter per cloud; opening.py knows them."""

from collections.abc import Iterator
from typing import Protocol

from fedstore.care.wanted import Finding


class Care(Protocol):
    """Settings of one bucket. StoreError where the bucket, or its cloud, does not answer at all."""

    def check(self, *, by_writing: bool = True) -> Iterator[Finding]:
        """What is there, requirement by requirement. `by_writing`: whether rules are tried by empty objects, or only read."""

    def init(self) -> Iterator[Finding]:
        """Sets what is missing and can be set from here, and looks again."""

    def by_hand(self) -> str:
        """Commands for what cannot be set from here; empty where everything can."""


class Marks(Protocol):
    """Which models a bucket's lifecycle may send to a cold class."""

    def mark(self, key: str, *, cold: bool) -> bool:
        """Marks an object, or takes the mark off; whether that was a change."""
