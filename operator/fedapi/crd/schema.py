"""From a pydantic model to a structural OpenAPI schema, as a CustomResourceDefinition wants it. Pure.

Called by manifest.py. What pydantic writes and Kubernetes refuses is folded away here: `$ref`, `anyOf` with
null, titles, exclusive bounds, `additionalProperties: false`. Everything `x-kubernetes-*` passes through.
"""

from pydantic import BaseModel

from fedapi.crd.fields import INT_OR_STRING
from fedapi.jsonvalue import Json

_PASSED = ("description", "default", "enum", "minimum", "maximum", "minLength", "maxLength", "pattern", "format")
_PASSED_SIZES = ("minItems", "maxItems", "minProperties", "maxProperties")


def structural(model: type[BaseModel], *, defaults: bool = True) -> Json:
    """The structural schema of a model, properties in order of declaration. `defaults=False` for status."""
    raw = model.model_json_schema(by_alias=True, mode="validation")
    return _fold(raw, raw.get("$defs", {}), defaults=defaults)


def _fold(node: Json, defs: dict[str, Json], *, defaults: bool) -> Json:
    node = _resolved(node, defs)
    out: Json = {key: node[key] for key in (*_PASSED, *_PASSED_SIZES) if key in node and node[key] is not None}
    out |= {key: value for key, value in node.items() if key.startswith("x-kubernetes-")}
    if not defaults:
        out.pop("default", None)
    if out.get(INT_OR_STRING):
        return {key: value for key, value in out.items() if key not in _PASSED_SIZES and key != "maxLength"}
    if "const" in node:
        out["enum"] = [node["const"]]
    out["type"] = node.get("type", "string")
    if out["type"] == "object":
        out |= _object(node, defs, defaults=defaults)
    elif out["type"] == "array":
        out["items"] = _fold(node["items"], defs, defaults=defaults)
    elif out["type"] == "integer":
        out["format"] = "int64"
    return out


def _object(node: Json, defs: dict[str, Json], *, defaults: bool) -> Json:
    if "properties" not in node:
        return {"additionalProperties": _fold(node.get("additionalProperties") or {}, defs, defaults=defaults)}
    required = node.get("required", [])
    properties = {name: _fold(child, defs, defaults=defaults) for name, child in node["properties"].items()}
    if defaults:
        # Pydantic leaves out what a default_factory makes. The API server evaluates an object's rules on the default as
        # it stands in the schema, so the defaults of its fields are written out.
        for name, child in node["properties"].items():
            if name not in required and "default" not in child:
                properties[name]["default"] = [] if properties[name]["type"] == "array" else _filled(properties[name])
    return {"properties": properties} | ({"required": required} if required else {})


def _filled(schema: Json) -> Json:
    """The defaults of an object's fields."""
    fields: dict[str, Json] = schema.get("properties", {})
    return {name: field["default"] for name, field in fields.items() if "default" in field}


def _resolved(node: Json, defs: dict[str, Json]) -> Json:
    """References and `X | null` replaced by X; what stands beside them (description, default, rules) wins."""
    while "$ref" in node or "anyOf" in node:
        beside = {key: value for key, value in node.items() if key not in ("$ref", "anyOf")}
        if "$ref" in node:
            target = defs[node["$ref"].rsplit("/", 1)[1]]
        else:
            options = [option for option in node["anyOf"] if option.get("type") != "null"]
            target = options[0] if len(options) == 1 else {INT_OR_STRING: True}
        node = _merged(target, beside)
    return node


def _merged(target: Json, beside: Json) -> Json:
    rules = [*target.get("x-kubernetes-validations", ()), *beside.get("x-kubernetes-validations", ())]
    return {**target, **beside, **({"x-kubernetes-validations": rules} if rules else {})}
