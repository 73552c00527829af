"""Building blocks of the resource models: base class, bounded strings and lists, CEL rules, conditions.

Imported by the models beside it only. Every list and string is bounded so that the API server can estimate
the cost of the CEL rules (Kubernetes API conventions).
"""

import re
from collections.abc import Collection, Sequence
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from fedapi.duration import PATTERN as DURATION_PATTERN
from fedapi.duration import seconds
from fedapi.jsonvalue import Json

VALIDATIONS = "x-kubernetes-validations"
LIST_MAP_KEYS = "x-kubernetes-list-map-keys"
LIST_TYPE = "x-kubernetes-list-type"
INT_OR_STRING = "x-kubernetes-int-or-string"


def rule(cel: str, message: str, field_path: str | None = None) -> dict[str, str]:
    """One CEL validation; the message names the field, what is wrong and the way out."""
    return {"rule": cel, "message": message} | ({"fieldPath": field_path} if field_path else {})


def rules(*entries: dict[str, str]) -> Json:
    """`json_schema_extra` that carries CEL validations."""
    return {VALIDATIONS: list(entries)}


def immutable(what: str, way_out: str = "delete the job and create it anew") -> Json:
    """`json_schema_extra` of a field that cannot change after creation."""
    return rules(rule("self == oldSelf", f"{what} cannot change after creation: {way_out}"))


class Part(BaseModel):
    """A part of a resource: camelCase on the wire, snake_case in Python, frozen, unknown fields refused."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid")

    def dump(self) -> Json:
        """JSON form with API names, unset optional fields left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class StatusPart(Part):
    """A part of `.status`: tolerant of fields that a newer version wrote."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")

    @classmethod
    def read(cls, stored: Json | None) -> Self:
        """As it was stored, without the leaves, or entries of lists, that say what only a newer version understands."""
        status = stored or {}
        while True:
            try:
                return cls.model_validate(status)
            except ValidationError as error:
                readable = _without(status, {fault["loc"][:2] for fault in error.errors()})
                if readable == status:
                    raise
                status = readable


def _without(status: Json, places: Collection[tuple[int | str, ...]]) -> Json:
    left = {}
    for leaf, value in status.items():
        entries = {place[1] for place in places if place[0] == leaf and isinstance(value, list) and len(place) > 1}
        if entries:
            left[leaf] = [entry for index, entry in enumerate(value) if index not in entries]
        elif all(place[0] != leaf for place in places):
            left[leaf] = value
    return left


def listed_by(*keys: str) -> Json:
    """`json_schema_extra` of a list that server-side apply merges by key."""
    return {LIST_TYPE: "map", LIST_MAP_KEYS: list(keys)}


LONGEST_DURATION = "8760h"  # a year: what is longer is a slip, and overflows clocks and timers further on
_DURATION_BOUNDS = (  # the message of both
    "must be a duration with its units, longer than zero and at most 8760h (a year), such as 90s, 10m or 1h30m"
)
# What every reader of a number takes for a finite one: 15 digits, 10^-99 to 10^99.
DECIMAL_PATTERN = r"^-?[0-9]{1,15}([.][0-9]+)?([eE][-+]?[0-9]{1,2})?$"
_DECIMAL_BOUNDS = (
    "must be a finite number of at most 15 digits before the point and 2 in the exponent, such as 0.01 or 1e-4"
)


def _bounded_duration(text: str) -> str:
    """As the rule of the schema: objects that were stored before it had that rule are refused here."""
    if not 0 < seconds(text) <= seconds(LONGEST_DURATION):
        raise ValueError(_DURATION_BOUNDS)
    return text


def _finite(text: str) -> str:
    """As the rule of the schema."""
    if not re.fullmatch(DECIMAL_PATTERN, text):
        raise ValueError(_DECIMAL_BOUNDS)
    return text


DURATION_RULE = rule(
    f"self.matches('{DURATION_PATTERN}') && duration(self) > duration('0s') && duration(self) <= duration('{LONGEST_DURATION}')",
    _DURATION_BOUNDS,
)
Duration = Annotated[
    str,
    Field(max_length=32, pattern=DURATION_PATTERN, json_schema_extra=rules(DURATION_RULE)),
    AfterValidator(_bounded_duration),
]
Name = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
QueueName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
Short = Annotated[str, Field(max_length=63)]
Text = Annotated[str, Field(max_length=1024)]
LabelValue = Annotated[str, Field(max_length=63, pattern=r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$")]
Labels = Annotated[dict[Annotated[str, Field(max_length=316)], LabelValue], Field(max_length=32)]
Decimal = Annotated[
    str,
    Field(
        max_length=32,
        pattern=r"^-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?$",
        json_schema_extra=rules(rule(f"self.matches('{DECIMAL_PATTERN}')", _DECIMAL_BOUNDS)),
    ),
    AfterValidator(_finite),
]
QUANTITY_PATTERN = "^[0-9]+([.][0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"
Quantity = Annotated[
    str,
    Field(
        max_length=32,
        pattern=QUANTITY_PATTERN,
        json_schema_extra=rules(
            rule(f"self.matches('{QUANTITY_PATTERN}')", "must be a quantity, such as 500m, 2, 1.5G or 4Gi")
        ),
    ),
]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", max_length=64)]


class Condition(StatusPart):
    """A condition as in metav1.Condition."""

    type: Annotated[str, Field(max_length=63)] = Field(description="What the condition is about.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: Annotated[str, Field(min_length=1, max_length=63)] = Field(description="Enumerated reason, CamelCase.")
    message: Text = Field("", description="The same for a person, with the way out when something is wrong.")
    observed_generation: int | None = Field(None, ge=0, description="metadata.generation that this was derived from.")
    last_transition_time: str = Field(
        description="When status last changed.", json_schema_extra={"format": "date-time"}
    )


Conditions = Annotated[list[Condition], Field(max_length=24, json_schema_extra=listed_by("type"))]


class ObjectMeta(StatusPart):
    """The part of metadata that Fedloom reads."""

    name: str
    namespace: str = "default"
    uid: str = ""
    generation: int = 1
    resource_version: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None


def find(conditions: Sequence[Condition] | None, type_: str) -> Condition | None:
    """The condition of that type, or None."""
    return next((c for c in conditions or () if c.type == type_), None)
