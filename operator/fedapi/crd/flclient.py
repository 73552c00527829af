"""FLClient: one site. Spec (the site owner's) and status (the operator's, on transitions only).

Read by the operator, the embedded runner and the documentation. A field is here only when it works.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field

from fedapi.crd.fields import (
    Conditions,
    EnvVar,
    Labels,
    Name,
    ObjectMeta,
    Part,
    Resources,
    StatusPart,
    Tolerations,
    listed_by,
    rule,
    rules,
)


class Placement(Part):
    """Where the site's training Jobs run."""

    mode: Literal["Local"] = Field("Local", description="Local: in this cluster and namespace.")


class Pool(Part):
    """The machines that a training pod asks for."""

    accelerator: Literal["CPU", "GPU"] = Field("CPU", description="Kind of device.")
    resource_name: Annotated[str, Field(max_length=253, pattern=r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$")] | None = Field(
        None, description="Extended resource of the device, for example nvidia.com/gpu or amd.com/gpu; with GPU."
    )
    count: int | None = Field(None, ge=1, le=16, description="Devices per training pod; with GPU.")
    resources: Resources | None = Field(
        None, description="Compute resources of a training container at this site; wins over the job's."
    )
    node_selector: Labels | None = Field(None, description="Node labels that training pods ask for.")
    tolerations: Tolerations | None = Field(None, description="Taints that training pods accept.")

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "(self.accelerator == 'GPU') == (has(self.resourceName) && has(self.count))",
                "accelerator GPU needs resourceName and count (for example nvidia.com/gpu and 1); CPU takes neither",
            )
        )
    )


class ClaimSource(Part):
    """A PersistentVolumeClaim of the site's namespace."""

    claim_name: Name = Field(description="Name of the claim.")


class ConfigMapSource(Part):
    """A ConfigMap of the site's namespace."""

    name: Name = Field(description="Name of the ConfigMap.")


class DataVolume(Part):
    """A volume of the site's own data, mounted read-only at /data/<name>."""

    name: Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")] = Field(
        description="Folder below the data directory that the task sees."
    )
    persistent_volume_claim: ClaimSource | None = Field(None, description="Data on a volume.")
    config_map: ConfigMapSource | None = Field(None, description="Data small enough for a ConfigMap (1 MiB).")

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.persistentVolumeClaim) != has(self.configMap)",
                "a data volume needs persistentVolumeClaim or configMap, one of them",
            )
        )
    )


class Data(Part):
    """The site's own data. It never leaves the site."""

    volumes: Annotated[list[DataVolume], Field(max_length=16, json_schema_extra=listed_by("name"))] = Field(
        default_factory=list, description="Volumes with the data, read-only in training pods."
    )
    env: Annotated[list[EnvVar], Field(max_length=32, json_schema_extra=listed_by("name"))] = Field(
        default_factory=list, description="Environment variables of the task at this site."
    )


class State(Part):
    """Where the site keeps checkpoints between pods. Absent: they are lost with the pod."""

    persistent_volume_claim: ClaimSource = Field(description="A claim of the site's own; Fedloom never deletes it.")


class FLClientSpec(Part):
    """One site."""

    provider: Literal["AWS", "GCP", "Azure", "OnPremises"] = Field(description="Where the site's machines are.")
    region: Annotated[str, Field(min_length=1, max_length=63)] | None = Field(
        None, description="Region of the provider."
    )
    organization: Annotated[str, Field(max_length=253)] | None = Field(None, description="Who owns the data.")
    placement: Placement = Field(default_factory=Placement, description="Where the site's training Jobs run.")
    pool: Pool = Field(default_factory=Pool, description="The machines that a training pod asks for.")
    data: Data = Field(default_factory=Data, description="The site's own data.")
    state: State | None = Field(None, description="Where the site keeps checkpoints between pods.")
    paused: bool = Field(False, description="True: the site takes no part in new rounds.")


class FLClientStatus(StatusPart):
    """What the operator knows of the site; written on transitions only."""

    conditions: Conditions | None = Field(None, description="Ready, Connected, DataAvailable.")
    active: bool | None = Field(None, description="Whether the site was heard from within 5 minutes.")
    accelerators: Annotated[str, Field(max_length=63)] | None = Field(
        None, description="Accelerator and count, for the eye."
    )
    observed_generation: int | None = Field(None, ge=0, description="metadata.generation that the conditions describe.")


class FLClient(Part):
    """An FLClient as the API server returns it."""

    metadata: ObjectMeta
    spec: FLClientSpec
    status: FLClientStatus = Field(default_factory=FLClientStatus)

    @classmethod
    def parse(cls, body: dict[str, Any]) -> Self:
        """From an API object; unknown spec fields are refused (pydantic.ValidationError)."""
        return cls.model_validate({k: body[k] for k in ("metadata", "spec", "status") if body.get(k) is not None})
