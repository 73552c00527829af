"""Secrets of the user: credentials of stores, as files that only their owner reads. What the API server refuses of them.

Called by manifests.py and runner.py. Values are never shown.
"""

import binascii
import re
from collections.abc import Iterator
from typing import Any

from fedapi.jsonvalue import Json
from fedlocal.configmaps import decoded
from fedlocal.statefolder import StateFolder, write

_KEY = re.compile(r"(?!\.\.)(?!\.$)[-._a-zA-Z0-9]{1,253}")


def findings(body: Json) -> Iterator[tuple[str, str]]:
    """(field path, message) of all that is wrong with a Secret's content."""
    for field in ("data", "stringData"):
        values = body.get(field) or {}
        if not isinstance(values, dict):
            yield field, "is no mapping: give a value per file name"
            continue
        for key, value in values.items():
            if trouble := _trouble(field, key, value):
                yield f"{field}.{key}", trouble


def _trouble(field: str, key: str, value: Any) -> str | None:
    if not _KEY.fullmatch(key):
        return "is no file name: use letters, digits, '-', '_' and '.'"
    if not isinstance(value, str | None):
        return "must be a string: put it in quotes"
    if field == "data":
        try:
            decoded(value or "")
        except binascii.Error:
            return "is not base64: give it in stringData, or encode it"
    return None


def content(body: Json) -> dict[str, bytes]:
    """The files: key -> bytes; stringData wins, as in a cluster."""
    files = {key: decoded(value or "") for key, value in (body.get("data") or {}).items()}
    return files | {key: (value or "").encode() for key, value in (body.get("stringData") or {}).items()}


def put(state: StateFolder, body: Json) -> None:
    """Writes a Secret where pods mount it, and removes files that it no longer has."""
    folder, files = state.secret(body["metadata"]["name"]), content(body)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.name not in files:
            path.unlink()
    for key, value in files.items():
        write(folder / key, value, 0o600, durable=False)
