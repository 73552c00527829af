"""ConfigMaps of the user: what the API server refuses, their bytes, and the folder that a kubelet makes of them.

Called by manifests.py, reconcile.py and mounts.py. A mounted ConfigMap is a folder of links, here as on a cluster: the
files are in `..<time>/`, `..data` points to it, and each key is a link to `..data/<key>`. What is changed is changed
at once, and a task that walks its folder sees the same in both places.
"""

import base64
import binascii
import re
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fedapi.jsonvalue import Json
from fedlocal.statefolder import write

MOST_BYTES = 1 << 20  # of all values together, as the API server says
_KEY = re.compile(r"(?!\.\.)(?!\.$)[-._a-zA-Z0-9]{1,253}")
_DATA, _NEW = "..data", "..data_tmp"


def findings(body: Json) -> list[tuple[str, str]]:
    """(field path, message) of all that is wrong with a ConfigMap's content."""
    found = list(_in_values(body))
    if not found and sum(map(len, content(body).values())) > MOST_BYTES:
        return [("data", f"is longer than {MOST_BYTES} bytes in all: use a volume for data of that size")]
    return found


def _in_values(body: Json) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for field in ("data", "binaryData"):
        values = body.get(field) or {}
        if not isinstance(values, dict):
            yield field, "is no mapping: give a value per file name"
            return
        for key, value in values.items():
            if trouble := _trouble(field, key, value, seen):
                yield f"{field}.{key}", trouble
            seen.add(key)


def _trouble(field: str, key: str, value: Any, seen: set[str]) -> str | None:
    if not _KEY.fullmatch(key):
        return "is no file name: use letters, digits, '-', '_' and '.'"
    if key in seen:
        return "is in data too: keep one"
    if not isinstance(value, str | None):
        return f"is {value!r}, but must be a string: put it in quotes"
    if field == "binaryData":
        try:
            decoded(value or "")
        except binascii.Error as error:
            return f"is not base64 ({error})"
    return None


def content(body: Json) -> dict[str, bytes]:
    """The files: key -> bytes, of `data` and `binaryData`."""
    texts = {key: (value or "").encode() for key, value in (body.get("data") or {}).items()}
    return texts | {key: decoded(value or "") for key, value in (body.get("binaryData") or {}).items()}


def decoded(value: str) -> bytes:
    """The bytes of base64 as YAML folds it; binascii.Error when it is none."""
    return base64.b64decode("".join(value.splitlines()), validate=True)


def put(folder: Path, files: Mapping[str, bytes]) -> None:
    """Makes the folder hold these files, if it does not yet."""
    if _holds(folder, files):
        return
    inner = _fresh(folder)
    for key, value in files.items():
        write(inner / key, value)
    _publish(folder, inner)


def link(folder: Path, source: Path) -> None:
    """Makes a folder that stands for a ConfigMap look like a mounted one; the files stay where they are."""
    inner = _fresh(folder)
    for path in source.iterdir():
        (inner / path.name).symlink_to(path.absolute(), target_is_directory=path.is_dir())
    _publish(folder, inner)


def held(folder: Path) -> dict[str, bytes]:
    """The files of a folder that `put` has made; none where there is none."""
    inner = folder / _DATA
    return {path.name: path.read_bytes() for path in inner.iterdir()} if inner.is_dir() else {}


def _holds(folder: Path, files: Mapping[str, bytes]) -> bool:
    return held(folder) == files and all((folder / key).is_symlink() for key in files) and (folder / _DATA).is_dir()


def _fresh(folder: Path) -> Path:
    inner = folder / datetime.now(UTC).strftime("..%Y_%m_%d_%H_%M_%S.%f")
    inner.mkdir(parents=True, exist_ok=True)
    return inner


def _publish(folder: Path, inner: Path) -> None:
    """Points `..data` to the new files, makes links for new keys and removes what is gone."""
    _linked(folder, _DATA, inner.name)
    keys = {path.name for path in inner.iterdir()}
    for key in keys:
        _linked(folder, key, f"{_DATA}/{key}")
    for path in folder.iterdir():
        if path.name not in keys | {_DATA, inner.name}:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _linked(folder: Path, name: str, target: str) -> None:
    (folder / _NEW).unlink(missing_ok=True)
    (folder / _NEW).symlink_to(target)
    (folder / _NEW).replace(folder / name)
