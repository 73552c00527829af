"""The records of a store volume, printed by a pod that mounts it: enough for fedstore.history to read them here.

Called by modelreader.py. One command lists every object with its size, and brings HEAD and the records along that are named.
"""

import base64
import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from fedapi import names
from fedapi.wire import storekey
from fedapi.wire.layout import Layout
from fedcli.errors import CommandError
from fedstore.errors import MissingError
from fedstore.objectstore import Head

LEDGER = "ledger/"  # all of that class
IN_MEMORY_BYTES = 16 << 20  # of records; more of them are kept on the disk
PRINT = """
import base64, json, os, sys
for folder, folders, names in os.walk(sys.argv[1]):
    folders.sort()  # HEAD comes before the ledger, which has all that HEAD is bound to
    for name in names:
        path = os.path.join(folder, name)
        try:
            said = {"key": os.path.relpath(path, sys.argv[1]), "size": os.path.getsize(path)}
            if name in sys.argv[2:] or said["key"].split("/")[0] + "/" in sys.argv[2:]:
                said["content"] = base64.b64encode(open(path, "rb").read()).decode()
        except FileNotFoundError:
            continue
        print(json.dumps(said))
"""  # runs in any image that has a Python; beside a running aggregator, which deletes what is over


def printing(*records: str) -> list[str]:
    """The command of a pod that prints a store's volume, with the content of HEAD, and of records of these names or classes (`ledger/`)."""
    return ["python", "-I", "-c", PRINT, names.PATH_STORE, "HEAD.json", *records]


@dataclass(frozen=True)
class VolumeRecords:
    """What was printed, read as a store is. Records of many sites are large: in memory is where they are in a file."""

    sizes: Mapping[str, int]
    places: Mapping[str, tuple[int, int]]  # where in the file a record begins, and its length
    file: IO[bytes]

    @staticmethod
    @contextmanager
    def of(output: Iterable[bytes]) -> "Iterator[VolumeRecords]":
        """From what PRINT printed, as it comes; for as long as the block lasts."""
        sizes: dict[str, int] = {}
        places: dict[str, tuple[int, int]] = {}
        with tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES) as file:
            for line in _lines(output):
                said = json.loads(line)
                sizes[said["key"]] = said["size"]
                if "content" in said:
                    data = base64.b64decode(said["content"])
                    places[said["key"]] = file.tell(), len(data)
                    file.write(data)
            yield VolumeRecords(sizes, places, file)

    @property
    def layout(self) -> Layout:
        """Of the one job whose store this is. CommandError when there are none or several."""
        jobs = [job for job in map(storekey.head_of, self.places) if job is not None]
        if len(jobs) != 1:
            raise CommandError(f"the volume holds the stores of {len(jobs)} jobs, not of one: give another --claim")
        return jobs[0]

    def get(self, key: str) -> bytes:
        """Of HEAD and of what was named."""
        if key not in self.places:
            raise MissingError(f"{key}: there is no such record")
        start, length = self.places[key]
        self.file.seek(start)
        return self.file.read(length)

    def keys(self, prefix: str) -> Iterator[str]:
        """As the port says."""
        return iter(sorted(key for key in self.sizes if key.startswith(prefix)))

    def size(self, key: str) -> int | None:
        """As the port says."""
        return self.sizes.get(key)

    def head(self, key: str) -> Head | None:
        """As the port says."""
        if key not in self.places:
            return None
        data = self.get(key)
        return Head(data, hashlib.sha256(data).hexdigest())


def _lines(output: Iterable[bytes]) -> Iterator[bytes]:
    """Whole lines of what comes in pieces."""
    begun: list[bytes] = []
    for piece in output:
        first, *others = piece.split(b"\n")
        begun.append(first)
        for other in others:
            yield b"".join(begun)
            begun = [other]
    if any(begun):
        yield b"".join(begun)
