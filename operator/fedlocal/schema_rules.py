"""Defaults and validation rules of a CRD's structural schema, applied here as the API server applies them.

Called by validation.py. The rules are CEL; the evaluator is the `common-expression-language` package. Types,
bounds and enums are checked before by the pydantic models, so a value's type can be trusted here.
"""

import copy
import json
import math
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import lru_cache
from typing import Any

from fedapi.crd.fields import LIST_MAP_KEYS, LIST_TYPE, VALIDATIONS
from fedapi.jsonvalue import Json

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?")
Finding = tuple[str, str]  # field path, message


def defaulted(value: Any, schema: Json) -> Any:
    """The value with the schema's defaults filled in, outermost first; the argument stays as it is."""
    if isinstance(value, list) and "items" in schema:
        return [defaulted(item, schema["items"]) for item in value]
    if not isinstance(value, dict):
        return value
    out = {key: child for key, child in value.items() if child is not None}
    properties: dict[str, Json] = schema.get("properties", {})
    for name, child in properties.items():
        if name not in out and "default" in child:
            out[name] = copy.deepcopy(child["default"])
        if name in out:
            out[name] = defaulted(out[name], child)
    return out


def violations(value: Any, schema: Json, old: Any = None, path: str = "") -> Iterator[Finding]:
    """What the schema's rules refuse, depth first. `old`: the stored object, for rules that speak of oldSelf."""
    for entry in schema.get(VALIDATIONS, ()):
        if "oldSelf" in entry["rule"] and old is None:
            continue
        if (trouble := _broken(entry["rule"], value, old)) is not None:
            where = path + entry.get("fieldPath", "")
            shown = _shown(value, entry.get("fieldPath"))
            yield where.lstrip("."), f"{entry['message']}{shown}{trouble}"
    yield from _doubles(value, schema, path)
    if schema.get("format") == "date-time" and isinstance(value, str) and not _is_moment(value):
        yield path.lstrip("."), f"is {value!r}, but must be a time with its zone, such as 2027-01-31T00:00:00Z"
    for child_path, child, child_schema, child_old in _children(value, schema, old, path):
        yield from violations(child, child_schema, child_old, child_path)


def below(schema: Json, place: Iterable[int | str]) -> Json:
    """The schema of a value within one of this schema; what is no field, such as the branch of a union, is passed over."""
    for part in place:
        inner = schema.get("items") if isinstance(part, int) else schema.get("properties", {}).get(part)
        inner = inner if isinstance(inner, dict) else schema.get("additionalProperties")
        schema = inner if isinstance(inner, dict) else schema
    return schema


def broken(value: Any, schema: Json) -> Iterator[str]:
    """Messages of the rules of that field that refuse the value."""
    for entry in schema.get(VALIDATIONS, ()):
        if "oldSelf" not in entry["rule"] and _broken(entry["rule"], value, None) is not None:
            yield entry["message"]


def _children(value: Any, schema: Json, old: Any, path: str) -> Iterator[tuple[str, Any, Json, Any]]:
    if isinstance(value, dict):
        before = old if isinstance(old, dict) else {}
        for name, child in value.items():
            spec = schema.get("properties", {}).get(name) or schema.get("additionalProperties")
            if isinstance(spec, dict):
                yield f"{path}.{name}", child, spec, before.get(name)
    elif isinstance(value, list) and "items" in schema:
        for index, child in enumerate(value):
            yield f"{path}[{index}]", child, schema["items"], None


def _doubles(value: Any, schema: Json, path: str) -> Iterator[Finding]:
    """Entries that are there twice in a list-map or a set."""
    kind = schema.get(LIST_TYPE)
    if kind not in ("map", "set") or not isinstance(value, list):
        return
    seen: set[str] = set()
    for index, entry in enumerate(value):
        key = {name: entry.get(name) for name in schema[LIST_MAP_KEYS]} if kind == "map" else entry
        text = json.dumps(key, sort_keys=True)
        if text in seen:
            yield f"{path}[{index}]".lstrip("."), f"is there twice ({text}): keep one"
        seen.add(text)


def _is_moment(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _shown(value: Any, field_path: str | None) -> str:
    for name in (field_path or "").split(".")[1:]:
        value = value.get(name) if isinstance(value, dict) else None
    return "" if isinstance(value, dict | list) or value is None else f" (it is {value!r})"


def _beyond_double(value: Any) -> bool:
    """Whether a number as text is too large for a double: Go's CEL refuses it, the evaluator here calls it infinite."""
    texts = value.values() if isinstance(value, dict) else [value]
    return any(isinstance(text, str) and _NUMBER.fullmatch(text) and math.isinf(float(text)) for text in texts)


@lru_cache(maxsize=256)
def _program(rule: str) -> Any:
    import cel  # noqa: PLC0415 - 0.3 s, and only validation needs it

    return cel.compile(rule)


def _broken(rule: str, value: Any, old: Any) -> str | None:
    """None when the rule holds; else what to add to its message: nothing, or why it could not be evaluated."""
    context = {"self": value} | ({"oldSelf": old} if old is not None else {})
    try:
        holds = _program(rule).execute(context) is True
        return None if holds and not ("double(" in rule and _beyond_double(value)) else ""
    except (RuntimeError, ValueError, TypeError, ArithmeticError, LookupError) as error:
        return f" (the rule could not be evaluated: {error})"
