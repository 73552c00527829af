"""Building blocks of the resource models: base class, bounded strings and lists, CEL rules, conditions.

Imported by the models beside it only. Every list and string is bounded so that the API server can estimate
the cost of the CEL rules (Kubernetes API conventions).
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from fedapi import names
from fedapi.duration import PATTERN as DURATION_PATTERN

VALIDATIONS = "x-kubernetes-validations"
LIST_MAP_KEYS = "x-kubernetes-list-map-keys"
LIST_TYPE = "x-kubernetes-list-type"
_TUNABLE = ", ".join(names.TUNABLE)
INT_OR_STRING = "x-kubernetes-int-or-string"


def rule(cel: str, message: str, field_path: str | None = None) -> dict[str, str]:
    """One CEL validation; the message names the field, what is wrong and the way out."""
    return {"rule": cel, "message": message} | ({"fieldPath": field_path} if field_path else {})


def rules(*entries: dict[str, str]) -> dict[str, Any]:
    """`json_schema_extra` that carries CEL validations."""
    return {VALIDATIONS: list(entries)}


def immutable(what: str, way_out: str = "delete the job and create it anew") -> dict[str, Any]:
    """`json_schema_extra` of a field that cannot change after creation."""
    return rules(rule("self == oldSelf", f"{what} cannot change after creation: {way_out}"))


class Part(BaseModel):
    """A part of a resource: camelCase on the wire, snake_case in Python, frozen, unknown fields refused."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid")

    def dump(self) -> dict[str, Any]:
        """JSON form with API names, unset optional fields left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class StatusPart(Part):
    """A part of `.status`: tolerant of fields that a newer version wrote."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")


def listed_by(*keys: str) -> dict[str, Any]:
    """`json_schema_extra` of a list that server-side apply merges by key."""
    return {LIST_TYPE: "map", LIST_MAP_KEYS: list(keys)}


Duration = Annotated[
    str,
    Field(
        max_length=32,
        pattern=DURATION_PATTERN,
        json_schema_extra=rules(
            rule("duration(self) > duration('0s')", "must be a duration longer than zero, such as 90s, 10m or 1h30m")
        ),
    ),
]
Name = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
QueueName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
Short = Annotated[str, Field(max_length=63)]
Text = Annotated[str, Field(max_length=1024)]
LabelValue = Annotated[str, Field(max_length=63, pattern=r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$")]
Labels = Annotated[dict[Annotated[str, Field(max_length=316)], LabelValue], Field(max_length=32)]
Decimal = Annotated[str, Field(max_length=32, pattern=r"^-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?$")]
Quantity = Annotated[
    str,
    Field(
        max_length=32,
        pattern=r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$",
    ),
]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", max_length=64)]


class EnvVar(Part):
    """An environment variable with a plain value."""

    name: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = Field(
        description=f"Name of the variable. Names that begin with FEDLOOM_ belong to Fedloom, but for {_TUNABLE}.",
        json_schema_extra=rules(
            rule(
                f"!self.startsWith('FEDLOOM_') || self in {list(names.TUNABLE)}",
                f"names that begin with FEDLOOM_ belong to Fedloom, but for {_TUNABLE}: choose another name",
            )
        ),
    )
    value: Annotated[str, Field(max_length=4096)] = Field(description="Value of the variable.")


class Toleration(Part):
    """A taint that the pods accept, as in a pod's spec."""

    key: Annotated[str, Field(max_length=316)] | None = Field(None, description="Taint key; absent matches every key.")
    operator: Literal["Exists", "Equal"] | None = Field(None, description="Relation of key and value; default Equal.")
    value: Short | None = Field(None, description="Taint value when the operator is Equal.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        None, description="Taint effect; absent matches all."
    )


Tolerations = Annotated[list[Toleration], Field(max_length=16, json_schema_extra={LIST_TYPE: "atomic"})]


class Resources(Part):
    """Compute resources of one container."""

    requests: Annotated[dict[Short, Quantity], Field(max_length=8)] | None = Field(
        None, description="What the container is guaranteed, by resource name, for example cpu: 500m."
    )
    limits: Annotated[dict[Short, Quantity], Field(max_length=8)] | None = Field(
        None, description="What the container may use at most, by resource name."
    )


class PodPatch(Part):
    """What may be added to a pod that Fedloom makes: an allow-list, not a pod. Its security context is Fedloom's own."""

    labels: Labels | None = Field(None, description="Labels added to the pod; Fedloom's own labels win.")
    annotations: (
        Annotated[
            dict[Annotated[str, Field(max_length=316)], Annotated[str, Field(max_length=1024)]], Field(max_length=32)
        ]
        | None
    ) = Field(None, description="Annotations added to the pod.")
    node_selector: Labels | None = Field(None, description="Node labels that the pod asks for.")
    tolerations: Tolerations | None = Field(None, description="Taints that the pod accepts.")
    env: Annotated[list[EnvVar], Field(max_length=32, json_schema_extra=listed_by("name"))] | None = Field(
        None, description="Environment variables added to the container."
    )
    image_pull_secrets: Annotated[list[Name], Field(max_length=8, json_schema_extra={LIST_TYPE: "set"})] | None = Field(
        None, description="Names of Secrets of the same namespace with credentials of the image registry."
    )


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


Conditions = Annotated[list[Condition], Field(max_length=16, json_schema_extra=listed_by("type"))]


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
