"""From a place in a cloud to the care of it: which adapters there are. Each is an extra of its own, loaded when it is asked for."""

from pathlib import Path

from fedapi.wire.location import S3, Cloud
from fedstore.care.port import Care, Marks
from fedstore.care.wanted import Wanted


def care_of(place: Cloud, credentials: Path | None, wanted: Wanted) -> Care | None:
    """Settings of its bucket; None where nobody knows how to look at them. StoreError, ModuleNotFoundError."""
    if isinstance(place, S3):
        from fedstore.care.s3 import S3Care  # noqa: PLC0415

        return S3Care(place, credentials, wanted)
    return None


def marks_of(place: Cloud, credentials: Path | None) -> Marks | None:
    """How models of its bucket become cold; None as above."""
    if isinstance(place, S3):
        from fedstore.care.s3 import S3Tags  # noqa: PLC0415

        return S3Tags(place, credentials)
    return None
