"""The records of a store volume, printed by a pod that mounts it: enough for fedstore.history to read them here.

Called by modelreader.py. One command lists every object with its size, and brings HEAD and the commits along.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from fedapi.wire.store import Layout
from fedcli.errors import CommandError
from fedstore.errors import MissingError
from fedstore.objectstore import Head

HEAD = "HEAD.json"
PRINT = """
import base64, json, os, sys
for folder, _, names in os.walk(sys.argv[1]):
    for name in names:
        path = os.path.join(folder, name)
        try:
            said = {"key": os.path.relpath(path, sys.argv[1]), "size": os.path.getsize(path)}
            if name in ("HEAD.json", "commit.json"):
                said["content"] = base64.b64encode(open(path, "rb").read()).decode()
        except FileNotFoundError:
            continue  # an aggregator is at work
        print(json.dumps(said))
"""  # runs in any image that has a Python


@dataclass(frozen=True)
class VolumeRecords:
    """What was printed, read as a store is."""

    sizes: Mapping[str, int]
    contents: Mapping[str, bytes]

    @staticmethod
    def of(output: Iterable[bytes]) -> "VolumeRecords":
        """From what PRINT printed."""
        said = [json.loads(line) for line in b"".join(output).splitlines()]
        contents = {each["key"]: base64.b64decode(each["content"]) for each in said if "content" in each}
        return VolumeRecords({each["key"]: each["size"] for each in said}, contents)

    @property
    def layout(self) -> Layout:
        """Of the one job whose store this is. CommandError when there are none or several."""
        heads = [key.split("/") for key in self.contents if key.startswith("control/") and key.endswith(f"/{HEAD}")]
        jobs = [parts for parts in heads if len(parts) == len(("control", "namespace", "job", HEAD))]
        if len(jobs) != 1:
            raise CommandError(f"the volume holds the stores of {len(jobs)} jobs, not of one: give another --claim")
        name, _, uid = jobs[0][2].partition("-")  # wherever it is cut: the layout puts it together again
        return Layout(jobs[0][1], name, uid)

    def get(self, key: str) -> bytes:
        """Of HEAD and commits alone."""
        if key not in self.contents:
            raise MissingError(f"{key}: there is no such record")
        return self.contents[key]

    def keys(self, prefix: str) -> Iterator[str]:
        """As the port says."""
        return iter(sorted(key for key in self.sizes if key.startswith(prefix)))

    def size(self, key: str) -> int | None:
        """As the port says."""
        return self.sizes.get(key)

    def head(self, key: str) -> Head | None:
        """As the port says."""
        data = self.contents.get(key)
        return None if data is None else Head(data, hashlib.sha256(data).hexdigest())
