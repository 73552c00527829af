"""Checks a manifest as the API server would and fills in its defaults. Called by manifests.py.

Two steps, as in a cluster: types, bounds and unknown fields (the pydantic models, strictly), then the CEL
rules of the CRD. Every message names the field, the value and the way out.
"""

import difflib
from functools import lru_cache
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from fedapi import names
from fedapi.crd.federatedjob import FederatedJobSpec
from fedapi.crd.flclient import FLClientSpec
from fedapi.crd.manifest import definitions
from fedapi.jsonvalue import Json
from fedlocal import object_meta, schema_rules

_EITHER = "is {!r}, but must be an integer or a string: put it in quotes"  # both branches of a union complain
_SAID = {  # by pydantic's type of the error, whose context has the rest
    "literal_error": "must be {expected}",
    "string_pattern_mismatch": "must match {pattern}",
    "string_too_long": "must have at most {max_length} characters",
    "int_type": "must be an integer",
    "bool_type": "must be true or false, without quotes",
    "model_type": "must be a mapping of fields: write them below it",
    "dict_type": "must be a mapping of fields: write them below it",
    "list_type": "must be a list: begin each item with '- '",
    "too_short": "needs at least {min_length}: add what is missing",
    "greater_than": "must be over {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be under {lt}",
    "less_than_equal": "must be at most {le}",
}
_OF_TEXTS = ("string_pattern_mismatch", "string_type")
SPECS: dict[str, type[BaseModel]] = {names.JOB_KIND: FederatedJobSpec, names.CLIENT_KIND: FLClientSpec}
_UNION_BRANCHES = ("int", "str", "constrained-int", "constrained-str")  # pydantic adds the branch of `int | str`


def checked(body: Json, old: Json | None = None) -> tuple[Json, list[schema_rules.Finding]]:
    """The object with defaults filled in, and (field path, message) of all that is wrong with it.

    `old` is the object as it is stored: fields that cannot change are compared with it.
    """
    findings = list(object_meta.findings(body, ("spec", "status")))
    if not isinstance(body.get("spec"), dict):
        return body, [*findings, ("spec", "is missing or not a mapping: the object says what to do there")]
    schema = _schemas()[body["kind"]]
    full = {
        **(body if findings else object_meta.filled(body)),
        "spec": schema_rules.defaulted(body["spec"], schema["properties"]["spec"]),
    }
    findings += _structural_findings(SPECS[body["kind"]], full["spec"], schema["properties"]["spec"])
    if not findings:
        findings += list(schema_rules.violations(_ruled(full), schema, _ruled(old) if old else None))
    return full, findings


def _ruled(body: Json) -> Json:
    return {"metadata": body["metadata"], "spec": body["spec"]}


@lru_cache(maxsize=1)
def _schemas() -> Json:
    specs = [definition["spec"] for definition in definitions().values()]
    return {spec["names"]["kind"]: spec["versions"][0]["schema"]["openAPIV3Schema"] for spec in specs}


def _structural_findings(model: type[BaseModel], spec: Json, schema: Json) -> list[schema_rules.Finding]:
    try:
        model.model_validate(spec, strict=True)
    except ValidationError as error:
        found: dict[str, str] = {}
        for entry in error.errors():
            if entry["type"] == "value_error":
                continue  # the schema's rules say it, in the words of the API server
            path = _path(entry)
            other = path in found and not isinstance(entry.get("input"), str)  # than what a union takes
            words = _ruled_out(entry, schema) or _text(entry, model)
            found[path] = _EITHER.format(entry.get("input")) if other else words
        return list(found.items())
    return []


def _path(entry: ErrorDetails) -> str:
    parts = ["spec"]
    loc = entry["loc"][:-1] if entry["loc"] and entry["loc"][-1] == "[key]" else entry["loc"]
    for index, part in enumerate(loc):
        if isinstance(part, int):
            parts[-1] += f"[{part}]"
        elif not (part in _UNION_BRANCHES or "[" in part) or index + 1 < len(loc):
            parts.append(part)
    return ".".join(parts)


def _text(entry: ErrorDetails, model: type[BaseModel]) -> str:
    value = entry.get("input")
    match entry["type"]:
        case "missing":
            return "is required: add it"
        case "extra_forbidden":
            return f"unknown field{_suggestion(entry, model)}; `kubectl explain` and the reference list all fields"
        case "string_type" if isinstance(value, int | float):
            return f"is {value!r}, but must be a string: put it in quotes"
        case "int_type" if isinstance(value, str) and value.isdigit():
            return f"is {value!r}, but must be an integer: remove the quotes"
    if entry["type"] in _SAID:
        return f"is {value!r}, but {_SAID[entry['type']].format(**entry.get('ctx', {}))}"
    return f"is {value!r}: {entry['msg']}"


def _ruled_out(entry: ErrorDetails, schema: Json) -> str:
    """What a rule of the field says of a text, or of a number as text, in plainer words than its pattern; empty: no rule refuses it."""
    value = entry.get("input")
    if entry["type"] not in _OF_TEXTS or not isinstance(value, str | int | float) or isinstance(value, bool):
        return ""
    found = schema_rules.broken(str(value), schema_rules.below(schema, entry["loc"]))
    return next((f"is {value!r}, but {message}" for message in found), "")


def _suggestion(entry: ErrorDetails, model: type[BaseModel]) -> str:
    *parents, wrong = entry["loc"]
    fields: type[BaseModel] | None = model
    for part in parents:
        fields = _model_of(fields, part) if fields and isinstance(part, str) else fields
    known = [field.alias or name for name, field in fields.model_fields.items()] if fields else []
    close = difflib.get_close_matches(str(wrong), known, 1, 0.6)
    return f", did you mean {close[0]}?" if close else ""


def _model_of(model: type[BaseModel], alias: str) -> type[BaseModel] | None:
    for name, field in model.model_fields.items():
        if (field.alias or name) == alias:
            return _first_model(field.annotation)
    return None


def _first_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_first_model(argument) for argument in get_args(annotation))
    return next((model for model in found if model), None)
