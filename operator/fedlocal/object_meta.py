"""Checks what stands around a manifest's content: metadata and the names of fields, as the API server checks them.

Called by validation.py and manifests.py. With kubectl an unknown field is an error (strict validation), and a label or
annotation that is not a string is one that Go cannot decode.
"""

import re
from collections.abc import Iterator
from typing import Any

from fedapi.jsonvalue import Json
from fedlocal.schema_rules import Finding

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_QUALIFIED = re.compile(r"([a-z0-9][-a-z0-9.]{0,251}[a-z0-9]?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_MOST_ANNOTATIONS = 256 * 1024  # bytes of all keys and values
_STRINGS = (
    "name", "generateName", "namespace", "selfLink", "uid", "resourceVersion", "creationTimestamp", "deletionTimestamp",
)  # fmt: skip
_OTHERS = (
    "generation", "deletionGracePeriodSeconds", "labels", "annotations", "ownerReferences", "finalizers", "managedFields",
)  # fmt: skip
QUOTE = "put it in quotes"


def findings(body: Json, fields: tuple[str, ...]) -> Iterator[Finding]:
    """(field path, message) of what is wrong; `fields`: what the object may have beside its type and metadata."""
    for field in body.keys() - {"apiVersion", "kind", "metadata", *fields}:
        yield field, f"unknown field; the object has {', '.join(fields)}"
    metadata = body.get("metadata")
    if not isinstance(metadata, dict) or metadata.get("name") is None:
        yield "metadata.name", "is missing: give the object a name"
        return
    for field, value in metadata.items():
        if field not in (*_STRINGS, *_OTHERS):
            yield f"metadata.{field}", "unknown field"
        elif field in _STRINGS and not isinstance(value, str | None):
            yield f"metadata.{field}", f"is {value!r}, but must be a string: {QUOTE}"
    yield from _names(metadata)
    yield from _labels(metadata.get("labels") or {})
    yield from _annotations(metadata.get("annotations") or {})


def filled(body: Json) -> Json:
    """The object as Go decodes it: a label or annotation that is null is an empty string."""
    metadata = dict(body["metadata"])
    for field in ("labels", "annotations"):
        if isinstance(metadata.get(field), dict):
            metadata[field] = {key: "" if value is None else value for key, value in metadata[field].items()}
    return {**body, "metadata": metadata}


def _names(metadata: Json) -> Iterator[Finding]:
    name, namespace = metadata["name"], metadata.get("namespace")
    if isinstance(name, str) and not _NAME.fullmatch(name):
        yield "metadata.name", f"{name!r} is not a name: use lower-case letters, digits and '-'"
    if isinstance(namespace, str) and namespace and not _NAMESPACE.fullmatch(namespace):
        yield "metadata.namespace", f"{namespace!r} is not a name: use at most 63 lower-case letters, digits and '-'"


def _labels(labels: Any) -> Iterator[Finding]:
    if not isinstance(labels, dict):
        yield "metadata.labels", f"is {labels!r}, but must be a mapping of strings"
        return
    yield from _keys("labels", labels)
    for key, value in labels.items():
        if not isinstance(value, str | None) or len(value or "") > 63 or not _LABEL_VALUE.fullmatch(value or ""):
            text = f"{value!r} is not a label value: quote it; at most 63 letters, digits, '-', '_', '.'"
            yield f"metadata.labels.{key}", text


def _annotations(annotations: Any) -> Iterator[Finding]:
    if not isinstance(annotations, dict):
        yield "metadata.annotations", f"is {annotations!r}, but must be a mapping of strings"
        return
    yield from _keys("annotations", annotations)
    for key, value in annotations.items():
        if not isinstance(value, str | None):
            yield f"metadata.annotations.{key}", f"is {value!r}, but must be a string: {QUOTE}"
    size = sum(len(str(text or "").encode()) for entry in annotations.items() for text in entry)
    if size > _MOST_ANNOTATIONS:
        yield "metadata.annotations", f"are {size} bytes long, {_MOST_ANNOTATIONS} are allowed"


def _keys(field: str, entries: Json) -> Iterator[Finding]:
    for key in entries:
        if not _QUALIFIED.fullmatch(key.lower() if field == "annotations" else key):
            yield f"metadata.{field}.{key}", f"{key!r} is not a key: use [PREFIX/]NAME, a name of at most 63 characters"
