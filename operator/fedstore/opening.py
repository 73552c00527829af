"""From where a store is said to be to the store: the one place that knows which adapters there are.

Used by the aggregator, its repair, the backup, the embedded runner and the command line. fedapi.wire.location has the
forms of the text. Credentials are files of a folder, named as the variables of the cloud's own SDK (AWS_ACCESS_KEY_ID, …)
and, for an endpoint of one's own, ca.crt; without a folder the SDK finds them as it does (workload identity, profiles).
"""

from functools import cache
from pathlib import Path

from fedapi.wire import location
from fedapi.wire.location import S3, Azure, Cloud, Folder, Gcs, Memory, UnknownLocationError
from fedstore.bucket import Bucket
from fedstore.bucketstore import BucketStore
from fedstore.disk import DiskStore
from fedstore.errors import UnknownStoreError
from fedstore.fencing import Fence
from fedstore.memory import MemoryStore
from fedstore.objectstore import ObjectStore


def open_store(where: str | Path, credentials: Path | None = None, fence: Fence | None = None) -> ObjectStore:
    """The store that a text names; UnknownStoreError when it names none, or one whose extra is not installed.

    `fence`: of who writes a bucket with fence=lease beside others. Without one its writer says that it is alone.
    """
    try:
        place = location.parsed(str(where))
    except UnknownLocationError as error:
        raise UnknownStoreError(str(error)) from error
    match place:
        case Folder(path):
            return DiskStore(Path(path))
        case Memory(name):
            return _in_memory(name)
        case S3() | Gcs() | Azure():
            return BucketStore(_bucket(place, credentials, fence), place.prefix)


def _bucket(place: Cloud, credentials: Path | None, fence: Fence | None) -> Bucket:
    """The adapter of its cloud, loaded with the first store there: each is an extra of its own."""
    try:
        match place:
            case S3():
                from fedstore.s3 import S3Bucket  # noqa: PLC0415

                return S3Bucket(place, credentials, fence)
            case Gcs():
                from fedstore.gcs import GcsBucket  # noqa: PLC0415

                return GcsBucket(place, credentials)
            case Azure():
                from fedstore.azure import AzureBucket  # noqa: PLC0415

                return AzureBucket(place, credentials)
    except ModuleNotFoundError as error:
        extra = {S3: "s3", Gcs: "gcs", Azure: "azure"}[type(place)]
        text = f"{place.text()} needs {error.name}: pip install fedloom[{extra}]"
        raise UnknownStoreError(text) from error


@cache
def _in_memory(_name: str) -> MemoryStore:
    """The same name is the same store, as it is on a disk."""
    return MemoryStore()
