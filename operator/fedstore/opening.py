"""From where a store is said to be to the store: the one place that knows which adapters there are.

Used by the aggregator, the repair, the embedded runner and its command line. A store is said by a text: a folder of a
volume (`/var/lib/fedloom/store`, or `file:` before it), or `memory:NAME`, which this process alone sees.
"""

from functools import cache
from pathlib import Path

from fedstore.disk import DiskStore
from fedstore.errors import UnknownStoreError
from fedstore.memory import MemoryStore
from fedstore.objectstore import ObjectStore

_FORMS = "give a folder, file:FOLDER or memory:NAME"


def open_store(where: str | Path) -> ObjectStore:
    """The store that a text names; UnknownStoreError when it names none."""
    scheme, colon, rest = str(where).partition(":")
    if not colon or "/" in scheme:
        scheme, rest = "file", str(where)
    match scheme:
        case "file" if rest:
            return DiskStore(Path(rest.removeprefix("//")))
        case "memory" if rest:
            return _in_memory(rest)
        case _:
            raise UnknownStoreError(f"{str(where)[:200]!r} names no store: {_FORMS}")


@cache
def _in_memory(_name: str) -> MemoryStore:
    """The same name is the same store, as it is on a disk."""
    return MemoryStore()
