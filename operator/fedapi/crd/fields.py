"""Building blocks of the resource models: base class, bounded strings and lists, CEL rules, conditions.

Imported by the models beside it only. Every list and string is bounded so that the API server can estimate
the cost of the CEL rules (Kubernetes API conventions).
"""

import re
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from fedapi import names
from fedapi.duration import PATTERN as DURATION_PATTERN
from fedapi.duration import seconds
from fedapi.jsonvalue import Json

VALIDATIONS = "x-kubernetes-validations"
LIST_MAP_KEYS = "x-kubernetes-list-map-keys"
LIST_TYPE = "x-kubernetes-list-type"
_TUNABLE = ", ".join(names.TUNABLE)
_HUB_ENV = ", ".join(names.HUB_ENV)
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


def listed_by(*keys: str) -> Json:
    """`json_schema_extra` of a list that server-side apply merges by key."""
    return {LIST_TYPE: "map", LIST_MAP_KEYS: list(keys)}


LONGEST_DURATION = "8760h"  # a year: what is longer is a slip, and overflows clocks and timers further on
_DURATION_BOUNDS = (
    "must be a duration longer than zero and at most 8760h (a year), such as 90s, 10m or 1h30m"  # the message of both
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


Duration = Annotated[
    str,
    Field(
        max_length=32,
        pattern=DURATION_PATTERN,
        json_schema_extra=rules(
            rule(
                f"duration(self) > duration('0s') && duration(self) <= duration('{LONGEST_DURATION}')", _DURATION_BOUNDS
            )
        ),
    ),
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
Quantity = Annotated[
    str,
    Field(
        max_length=32,
        pattern=r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$",
    ),
]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", max_length=64)]


EnvName = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
EnvValue = Annotated[str, Field(max_length=4096)]
_AS_WRITTEN = "Value of the variable, exactly as written: `$(NAME)` and `$$` are not expanded."


class EnvVar(Part):
    """An environment variable of the task, with a plain value."""

    name: EnvName = Field(
        description="Name of the variable. Names that begin with FEDLOOM_ belong to Fedloom, in lower case too, but for "
        f"{_TUNABLE}; {names.ENV_COMPLETION_INDEX} belongs to Kubernetes.",
        json_schema_extra=rules(
            rule(
                f"!self.matches('^(?i)fedloom_') || self in {list(names.TUNABLE)}",
                f"names that begin with FEDLOOM_ belong to Fedloom, in lower case too, but for {_TUNABLE}: choose another name",
            ),
            rule(
                f"!self.matches('^(?i){names.ENV_COMPLETION_INDEX}$')",
                f"{names.ENV_COMPLETION_INDEX} is set by Kubernetes: choose another name",
            ),
        ),
    )
    value: EnvValue = Field(description=_AS_WRITTEN)


class HubEnvVar(Part):
    """An environment variable of the aggregator: one of a list, because others make it load code or trust keys."""

    name: EnvName = Field(
        description=f"Name of the variable, one of {_HUB_ENV}.",
        json_schema_extra=rules(
            rule(
                f"self in {list(names.HUB_ENV)}",
                f"the aggregator takes {_HUB_ENV} and no other variable: remove it (variables of the task belong in "
                "spec.training.podTemplate.env)",
            )
        ),
    )
    value: EnvValue = Field(description=_AS_WRITTEN)


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


# A key without a domain is the user's own; of the others those that are known to be harmless. Container runtimes, network
# plugins and injectors of sidecars and identities take orders from annotations: see docs/security.md.
ANNOTATION_PATTERN = (
    "^([A-Za-z0-9]([-A-Za-z0-9_]*[A-Za-z0-9])?|prometheus[.]io/[-A-Za-z0-9_]+|(sidecar[.]istio|linkerd)[.]io/inject|"
    "cluster-autoscaler[.]kubernetes[.]io/safe-to-evict|karpenter[.]sh/do-not-disrupt|gke-gcsfuse/volumes|"
    "kueue[.]x-k8s[.]io/podset-(required|preferred|unconstrained)-topology)$"
)
# Labels by which Fedloom, Kubernetes and its queues find pods; app.kubernetes.io/… is anybody's.
RESERVED_LABEL_PATTERN = (
    "^(([^/]*[.])?(fedloom[.]dev|kubernetes[.]io|k8s[.]io|x-k8s[.]io)/|(job-name|controller-uid|pod-template-hash)$)"
)
_OPEN_LABELS = "app.kubernetes.io/"
PodLabels = Annotated[
    Labels,
    Field(
        json_schema_extra=rules(
            rule(
                f"self.all(key, !key.matches('{RESERVED_LABEL_PATTERN}') || key.startsWith('{_OPEN_LABELS}'))",
                "has a key of Fedloom's or Kubernetes' own (fedloom.dev/…, …kubernetes.io/…, …k8s.io/…, job-name, "
                "controller-uid, pod-template-hash): use another key; a queue goes into queueName",
            )
        )
    ),
]
AnnotationMap = Annotated[
    dict[Annotated[str, Field(max_length=316)], Annotated[str, Field(max_length=1024)]],
    Field(
        max_length=32,
        json_schema_extra=rules(
            rule(
                f"self.all(key, key.matches('{ANNOTATION_PATTERN}'))",
                "has a key that a container runtime or an add-on of the cluster may take for an order: use a key without "
                "'/' and '.', a label, or one of prometheus.io/…, sidecar.istio.io/inject, linkerd.io/inject, "
                "cluster-autoscaler.kubernetes.io/safe-to-evict, karpenter.sh/do-not-disrupt, gke-gcsfuse/volumes, "
                "kueue.x-k8s.io/podset-…-topology",
            )
        ),
    ),
]


class PodAdditions(Part):
    """What may be added to a pod that Fedloom makes: an allow-list, not a pod. Its security context is Fedloom's own."""

    labels: PodLabels | None = Field(None, description="Labels added to the pod; Fedloom's own labels win.")
    annotations: AnnotationMap | None = Field(
        None,
        description="Annotations added to the pod: keys without a domain, and those of add-ons that are known to be "
        "harmless, such as prometheus.io/scrape.",
    )
    node_selector: Labels | None = Field(None, description="Node labels that the pod asks for.")
    tolerations: Tolerations | None = Field(None, description="Taints that the pod accepts.")
    image_pull_secrets: Annotated[list[Name], Field(max_length=8, json_schema_extra={LIST_TYPE: "set"})] | None = Field(
        None, description="Names of Secrets of the same namespace with credentials of the image registry."
    )

    def harmless_annotations(self) -> dict[str, str]:
        """The annotations that the schema's rule accepts: an object may be older than that rule."""
        return {key: text for key, text in (self.annotations or {}).items() if re.fullmatch(ANNOTATION_PATTERN, key)}

    def open_labels(self) -> dict[str, str]:
        """The labels that the schema's rule accepts."""
        reserved = (
            k for k in self.labels or {} if re.match(RESERVED_LABEL_PATTERN, k) and not k.startswith(_OPEN_LABELS)
        )
        taken = frozenset(reserved)
        return {key: text for key, text in (self.labels or {}).items() if key not in taken}


class PodPatch(PodAdditions):
    """Additions to the training pods."""

    env: Annotated[list[EnvVar], Field(max_length=32, json_schema_extra=listed_by("name"))] | None = Field(
        None, description="Environment variables added to the container."
    )

    def variables(self) -> dict[str, str]:
        """The variables by name."""
        return {entry.name: entry.value for entry in self.env or ()}


class AggregatorPodPatch(PodAdditions):
    """Additions to the aggregator's pod."""

    env: Annotated[list[HubEnvVar], Field(max_length=32, json_schema_extra=listed_by("name"))] | None = Field(
        None, description="Environment variables added to the container: those of a list."
    )

    def variables(self) -> dict[str, str]:
        """The variables by name, those of the list alone: an object may be older than the list."""
        return {entry.name: entry.value for entry in self.env or () if entry.name in names.HUB_ENV}


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
