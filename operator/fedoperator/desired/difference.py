"""Does a live object differ from a desired one in a leaf that we own? Called by the shell before every apply.

Every leaf of `desired` must be present and equal in `live`; what the server's defaults added does not count, and
what others added is takeback.py's business. What we applied before and no longer want is found in our own entry of
`metadata.managedFields`, where the live object still carries it. Quantities are compared as numbers; empty values
equal absent ones.
"""

import json
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from fedapi import names
from fedapi.jsonvalue import JsonView

# Lists that the API merges by key. Others are atomic: same length, same order.
_MERGE_KEYS: Mapping[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "env": ("name",),
    "volumes": ("name",),
    "imagePullSecrets": ("name",),
    "volumeMounts": ("mountPath",),
    "ownerReferences": ("uid",),
    "conditions": ("type",),
    "ports": ("containerPort", "protocol"),
}
_SERVICE_PORT_KEY = ("port", "protocol")
_QUANTITIES = frozenset({"requests", "limits"})  # maps of them
_QUANTITY = frozenset({"sizeLimit"})
_EMPTY: tuple[Any, ...] = ({}, [], "", None)
_SUFFIXES = {
    "": Fraction(1), "n": Fraction(1, 10**9), "u": Fraction(1, 10**6), "m": Fraction(1, 1000),
    "k": Fraction(10**3), "M": Fraction(10**6), "G": Fraction(10**9), "T": Fraction(10**12), "P": Fraction(10**15),
    "Ki": Fraction(2**10), "Mi": Fraction(2**20), "Gi": Fraction(2**30), "Ti": Fraction(2**40), "Pi": Fraction(2**50),
}  # fmt: skip


def quantity(text: str) -> Fraction:
    """A Kubernetes quantity as a number: 500m is 1/2, 1Ki is 1024. ValueError when it is not one."""
    stem = text.rstrip("numkMGTPi")
    if text[len(stem) :] not in _SUFFIXES:
        raise ValueError(f"{text!r} is not a quantity")
    return Fraction(stem) * _SUFFIXES[text[len(stem) :]]


def _keys(field: str, item: JsonView) -> tuple[str, ...]:
    if field == "ports" and "containerPort" not in item:
        return _SERVICE_PORT_KEY
    return _MERGE_KEYS[field]


def _keyed(field: str, items: Sequence[JsonView]) -> dict[tuple[Any, ...], JsonView]:
    return {tuple(item.get(key) for key in _keys(field, item)): item for item in items}


def _same_quantity(desired: Any, live: Any) -> bool:
    try:
        return quantity(str(desired)) == quantity(str(live))
    except ValueError:
        return bool(desired == live)


def _map_differs(desired: JsonView, live: Any, field: str) -> bool:
    if not isinstance(live, Mapping):
        return True
    if field in _QUANTITIES:
        return any(key not in live or not _same_quantity(value, live[key]) for key, value in desired.items())
    return any(_value_differs(value, live.get(key), key) for key, value in desired.items())


def _list_differs(desired: Sequence[Any], live: Any, field: str) -> bool:
    if not isinstance(live, Sequence) or isinstance(live, str):
        return True
    if field in _MERGE_KEYS and all(isinstance(item, Mapping) for item in desired):
        there = _keyed(field, live)
        return any(
            key not in there or _value_differs(item, there[key], "") for key, item in _keyed(field, desired).items()
        )
    return len(desired) != len(live) or any(_value_differs(d, v, "") for d, v in zip(desired, live, strict=True))


def _value_differs(desired: Any, live: Any, field: str) -> bool:
    if desired in _EMPTY and live in _EMPTY:
        return False
    if field in _QUANTITY:
        return not _same_quantity(desired, live)
    if isinstance(desired, Mapping):
        return _map_differs(desired, live, field)
    if isinstance(desired, Sequence) and not isinstance(desired, str):
        return _list_differs(desired, live, field)
    return bool(desired != live)


def is_ours(entry: JsonView, manager: str = names.OPERATOR_MANAGER) -> bool:
    """Whether an entry of managedFields lists the leaves that the manager applied, status aside."""
    return (entry.get("manager"), entry.get("operation"), entry.get("subresource", "")) == (manager, "Apply", "")


def our_fields(live: JsonView, manager: str = names.OPERATOR_MANAGER) -> JsonView:
    """What the manager applied to the object, as fieldsV1; empty where it applied nothing."""
    for entry in live.get("metadata", {}).get("managedFields") or ():
        if is_ours(entry, manager):
            fields: JsonView = entry.get("fieldsV1") or {}
            return fields
    return {}


def child_at(desired: Any, path: str) -> tuple[bool, Any]:
    """Whether `desired` has what a managedFields path element names, and its value."""
    kind, _, rest = path.partition(":")
    if kind == "f":
        return (rest in desired, desired[rest]) if isinstance(desired, Mapping) and rest in desired else (False, None)
    if not isinstance(desired, Sequence):
        return False, None
    wanted = json.loads(rest)
    if kind == "v":
        return wanted in desired, wanted
    found = (i for i in desired if isinstance(i, Mapping) and all(i.get(k) == v for k, v in wanted.items()))
    item = next(found, None)
    return item is not None, item


def _dropped(fields: JsonView, desired: Any) -> bool:
    """Whether we own a leaf in the live object that is no longer desired."""
    for path, below in fields.items():
        if path == ".":
            continue
        there, value = child_at(desired, path)
        if not there or (below and _dropped(below, value)):
            return True
    return False


def differs(desired: JsonView, live: JsonView | None, manager: str = names.OPERATOR_MANAGER) -> bool:
    """Whether `desired` must be applied. `live` as read from the API; None: there is none.

    Objects out of a list lack apiVersion and kind, so these are not compared.
    """
    if live is None:
        return True
    owned = {key: value for key, value in desired.items() if key not in ("apiVersion", "kind")}
    return _map_differs(owned, live, "") or _dropped(our_fields(live, manager), owned)
