"""From a place in a cloud to the care of it: which adapters there are. Each is an extra of its own, loaded when it is asked for."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedapi.wire.location import S3, Azure, Cloud, Gcs
from fedstore.care.port import Care, Marks
from fedstore.care.wanted import Wanted
from fedstore.errors import UnknownStoreError

_EXTRAS = {S3: "s3", Gcs: "gcs", Azure: "azure"}


def care_of(place: Cloud, credentials: Path | None, wanted: Wanted) -> Care:
    """Settings of its bucket. UnknownStoreError where its extra is not installed, StoreError."""
    with _installed(place):
        match place:
            case S3():
                from fedstore.care.s3 import S3Care  # noqa: PLC0415

                return S3Care(place, credentials, wanted)
            case Gcs():
                from fedstore.care.gcs import GcsCare  # noqa: PLC0415

                return GcsCare(place, credentials, wanted)
            case Azure():
                from fedstore.care.azure import AzureCare  # noqa: PLC0415

                return AzureCare(place, credentials, wanted)


def marks_of(place: Cloud, credentials: Path | None, wanted: Wanted) -> Marks:
    """How models of its bucket become cold. Errors as above."""
    with _installed(place):
        match place:
            case S3():
                from fedstore.care.s3 import S3Tags  # noqa: PLC0415

                return S3Tags(place, credentials)
            case Gcs():
                from fedstore.care.gcs import GcsMarks  # noqa: PLC0415

                return GcsMarks(place, credentials)
            case Azure():
                from fedstore.care.azure import AzureTiers  # noqa: PLC0415

                return AzureTiers(place, credentials, wanted)


@contextmanager
def _installed(place: Cloud) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise UnknownStoreError(
            f"{place.text()} needs {error.name}: pip install fedloom[{_EXTRAS[type(place)]}]"
        ) from error
