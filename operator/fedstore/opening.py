"""From where a store is said to be to the store: the one place that knows which adapters there are.

Used by the aggregator, its repair, the backup, the embedded runner and the command line. fedapi.wire.location has the
forms of the text. Credentials are files of a folder, named as the variables of the cloud's own SDK (AWS_ACCESS_KEY_ID, …)
and, for an endpoint of one's own, ca.crt; without a folder the SDK finds them as it does (workload identity, profiles).
"""

from functools import cache
from pathlib import Path

from fedapi.wire import location
from fedapi.wire.location import S3, Azure, Folder, Gcs, Memory, UnknownLocationError
from fedstore.disk import DiskStore
from fedstore.errors import UnknownStoreError
from fedstore.memory import MemoryStore
from fedstore.objectstore import ObjectStore


def open_store(where: str | Path, credentials: Path | None = None) -> ObjectStore:
    """The store that a text names; UnknownStoreError when it names none, or one whose extra is not installed."""
    try:
        place = location.parsed(str(where))
    except UnknownLocationError as error:
        raise UnknownStoreError(str(error)) from error
    del credentials
    match place:
        case Folder(path):
            return DiskStore(Path(path))
        case Memory(name):
            return _in_memory(name)
        case S3() | Gcs() | Azure():
            raise UnknownStoreError(f"{place.text()}: no adapter is installed for it")


@cache
def _in_memory(_name: str) -> MemoryStore:
    """The same name is the same store, as it is on a disk."""
    return MemoryStore()
