"""Fields that describe a part of a pod: variables, tolerations, resources, and what may be added to it.

Used by the models of both resources. What is allowed here is all that a user can change of a pod of Fedloom's.
"""

import re
from typing import Annotated, Literal

from pydantic import Field

from fedapi import names
from fedapi.crd.fields import LIST_TYPE, Labels, Name, Part, Quantity, Short, listed_by, rule, rules

_TUNABLE = ", ".join(names.TUNABLE)
_HUB_ENV = ", ".join(names.HUB_ENV)

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
