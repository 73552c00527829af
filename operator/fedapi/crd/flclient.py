"""FLClient: one site. Spec (the site owner's) and status (the operator's, on transitions only).

Read by the operator, the embedded runner and the documentation. A field is here only when it works.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field

from fedapi import names
from fedapi.crd.anomalies import SiteAnomalies
from fedapi.crd.enrollment import Enrollment
from fedapi.crd.events import SiteEvents
from fedapi.crd.fields import (
    Conditions,
    Labels,
    Name,
    ObjectMeta,
    Part,
    Quantity,
    QueueName,
    Short,
    StatusPart,
    listed_by,
    rule,
    rules,
)
from fedapi.crd.identity import KEPT, Identity
from fedapi.crd.podfields import Resources, Tolerations
from fedapi.crd.requires import REMEMBERS_RELEASES, Requires
from fedapi.crd.sitedata import ClaimSource, Data
from fedapi.crd.tpu import TPU_TYPES, chips, combinations
from fedapi.jsonvalue import Json
from fedapi.wire.entrusted import MAX_ENTRUSTED

MAX_COUNTED = 100  # jobs that exist and count a site's rounds at a time


class Placement(Part):
    """Where the site's training Jobs run."""

    mode: Literal["Local"] = Field("Local", description="Local: in this cluster and namespace.")


class Tpu(Part):
    """A TPU slice."""

    type: Literal["tpu-v4-podslice", "tpu-v5-lite-podslice", "tpu-v5p-slice", "tpu-v6e-slice", "tpu7x"] = Field(
        description="Kind of slice: v4, v5e, v5p, v6e or 7x, by the name that GKE's nodes are labelled with."
    )
    topology: Annotated[str, Field(max_length=12, pattern=r"^[0-9]+x[0-9]+(x[0-9]+)?$")] = Field(
        description="Arrangement of the slice's chips, for example 2x4 or 4x4x8."
    )


def _cel_map(entries: Mapping[str, object]) -> str:
    return "{" + ", ".join(f"'{key}': {value}" for key, value in entries.items()) + "}"


# The table of crd/tpu.py as CEL literals. Chips per host depend on the topology alone, which keeps the rules cheap.
_TOPOLOGIES = _cel_map({name: list(kind.topologies) for name, kind in TPU_TYPES.items()})
_CHIPS = _cel_map({topology: chips(topology) for kind in TPU_TYPES.values() for topology in kind.topologies})
_SMALL = [topology for kind in TPU_TYPES.values() for topology in kind.topologies if chips(topology) == 1]
_COUNT = f"(has(self.count) ? self.count : self.tpu.topology in {_SMALL} ? 1 : 4)"
_COUNT_FITS = " || ".join(
    f"{_COUNT} == {count} && self.tpu.topology in {sorted({t for _, t, c in combinations() if c == count})}"
    for count in sorted({count for _, _, count in combinations()})
)
_HOSTS = f"({_CHIPS}[self.tpu.topology] / {_COUNT})"
_NO_SLICE = f"!has(self.tpu) || !(self.tpu.topology in {_CHIPS}) || {_CHIPS}[self.tpu.topology] < {_COUNT}"


class Pool(Part):
    """The machines of a site: devices per training pod, and the pods whose ranks train together in a ring."""

    accelerator: Literal["CPU", "GPU", "TPU"] = Field("CPU", description="Kind of device.")
    resource_name: Annotated[str, Field(max_length=253, pattern=r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$")] | None = Field(
        None,
        description="Extended resource of the device, for example nvidia.com/gpu, nvidia.com/mig-1g.5gb, amd.com/gpu, "
        "aws.amazon.com/neuroncore or habana.ai/gaudi; with GPU.",
    )
    count: int | None = Field(
        None, ge=1, le=16, description="Devices per training pod; with GPU. With TPU the chips per host: 1, 4 or 8."
    )
    tpu: Tpu | None = Field(None, description="The TPU slice; with TPU.")
    workers: int | None = Field(
        None,
        ge=1,
        le=256,
        description="Training pods; default 1, with TPU the hosts of one slice. A multiple of that is several slices.",
    )
    min_workers: int | None = Field(
        None, ge=1, le=256, description="With fewer pods than this the ring waits; default `workers`."
    )
    slots_per_worker: int | None = Field(
        None, ge=1, le=64, description="Ranks (processes) per pod; default one per GPU, otherwise 1."
    )
    collective: Literal["Horovod", "TorchDistributed", "XLA"] | None = Field(
        None,
        description="What joins the ranks. Default Horovod; with TPU default XLA where there is one slice. With TPU, "
        "XLA always joins the chips of a slice, and Horovod or TorchDistributed joins several slices.",
    )
    backend: Literal["Auto", "Gloo", "NCCL"] = Field(
        "Auto", description="Transport of the ring. Auto: NCCL between whole GPUs, Gloo otherwise."
    )
    spot: bool = Field(False, description="Whether pods ask for, and accept, the provider's spot machines.")
    queue_name: QueueName | None = Field(
        None, description="Kueue LocalQueue that admits the site's training Job; it is created suspended."
    )
    resources: Resources | None = Field(
        None, description="Compute resources of a training container at this site; wins over the job's."
    )
    node_selector: Labels | None = Field(None, description="Node labels that training pods ask for.")
    tolerations: Tolerations | None = Field(None, description="Taints that training pods accept.")

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.accelerator != 'GPU' || (has(self.resourceName) && has(self.count))",
                "accelerator GPU needs resourceName and count (for example nvidia.com/gpu and 1)",
            ),
            rule(
                "self.accelerator != 'CPU' || !(has(self.resourceName) || has(self.count))",
                "accelerator CPU takes no resourceName and no count: remove them, or set accelerator: GPU",
            ),
            rule(
                "(self.accelerator == 'TPU') == has(self.tpu)",
                "accelerator TPU needs tpu (type and topology), and tpu goes with accelerator TPU alone: a pool has GPUs "
                "or TPUs, not both",
            ),
            rule(
                "self.accelerator != 'TPU' || !has(self.resourceName)",
                "accelerator TPU takes no resourceName (it is google.com/tpu): a pool has GPUs or TPUs, not both",
                ".resourceName",
            ),
            rule(
                f"!has(self.tpu) || self.tpu.topology in {_TOPOLOGIES}[self.tpu.type]",
                "tpu.topology is not one of tpu.type: see the table of slices in Pools and accelerators",
                ".tpu.topology",
            ),
            rule(
                f"!has(self.tpu) || !(self.tpu.topology in {_CHIPS}) || {_COUNT_FITS}",
                "count (chips per host) does not fit tpu.topology: 1 for one chip, else 4; with 2x4 also 8",
                ".count",
            ),
            rule(
                f"{_NO_SLICE} || !has(self.workers) || self.workers % {_HOSTS} == 0",
                "workers must be a multiple of the slice's hosts (chips of tpu.topology / count): remove workers for one slice",
                ".workers",
            ),
            rule(
                "!has(self.collective) || self.collective != 'XLA' || self.accelerator == 'TPU'",
                "collective XLA goes with accelerator TPU: use Horovod or TorchDistributed",
                ".collective",
            ),
            rule(
                f"{_NO_SLICE} || !has(self.collective) || self.collective != 'XLA' || !has(self.workers) || "
                f"self.workers == {_HOSTS}",
                "collective XLA joins the hosts of one slice: lower workers, or join the slices by Horovod or TorchDistributed",
                ".collective",
            ),
            rule(
                "self.backend != 'NCCL' || self.accelerator == 'GPU'",
                "backend NCCL needs accelerator GPU: use Auto or Gloo",
                ".backend",
            ),
            rule(
                "self.backend != 'NCCL' || !has(self.resourceName) || !self.resourceName.contains('/mig-')",
                "backend NCCL cannot join MIG devices: use Auto or Gloo",
                ".backend",
            ),
            rule(
                "!has(self.minWorkers) || self.minWorkers <= (has(self.workers) ? self.workers : 1) || has(self.tpu)",
                "minWorkers is above workers: lower it or raise workers",
                ".minWorkers",
            ),
            rule(
                f"{_NO_SLICE} || !has(self.minWorkers) || "
                f"({_HOSTS} == 1 && self.minWorkers <= (has(self.workers) ? self.workers : 1))",
                "minWorkers goes with slices of one host and is at most workers: a slice cannot do without a host",
                ".minWorkers",
            ),
            rule(
                "!has(self.slotsPerWorker) || self.accelerator == 'CPU' || "
                "self.slotsPerWorker <= (self.accelerator == 'GPU' && has(self.count) ? self.count : 1)",
                "slotsPerWorker is above count: a rank needs a GPU of its own, and one rank drives all TPU chips of a host",
                ".slotsPerWorker",
            ),
        )
    )


class State(Part):
    """The site's own volume for what outlives a pod."""

    persistent_volume_claim: ClaimSource = Field(description="A claim of the site's own; Fedloom never deletes it.")


class StateKeyRef(Part):
    """A Secret of the same namespace."""

    name: Name = Field(
        description=f"Name of the Secret; it begins with {names.STATE_KEY_SECRET_PREFIX}.",
        json_schema_extra=rules(
            rule(
                f"self.startsWith('{names.STATE_KEY_SECRET_PREFIX}')",
                f"must begin with {names.STATE_KEY_SECRET_PREFIX}: who may write sites gets no other Secret mounted",
            )
        ),
    )


class EntrustedState(Part):
    """What the site leaves of its state with the hub."""

    key_secret_ref: StateKeyRef = Field(
        description=f"The site's own Secret: `{names.FILE_STATE_KEY}`, 32 bytes or more (`openssl rand -hex 32`), by which the "
        "state is encrypted at the site. Without it nobody can read what was entrusted: keep a copy."
    )
    every_rounds: int = Field(1, ge=1, le=1000, description="Rounds from one entrusted state to the next.")
    keep_last: int = Field(
        2, ge=1, le=MAX_ENTRUSTED, description="How many the hub keeps: with more, a rollback can go further back."
    )


class Participation(Part):
    """How often the site takes part."""

    every_rounds: int = Field(
        1,
        ge=1,
        le=100,
        description="The site is selected for at most every n-th round of a job: with 3, for none of the two rounds after one "
        "that it was selected for. Attempts of one round are one round.",
    )


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
    state: State | None = Field(
        None,
        description="A volume for what outlives a pod: checkpoints of a training, updates on their way, and what stays "
        "at the site: ctx.state, and the tensors of training.localParameters. Absent: they are lost with the pod; the "
        "training of the round begins anew, and a site that has lost such state ends with DataMissing.",
    )
    entrusted_state: EntrustedState | None = Field(
        None,
        description="Present: after a round the site entrusts what its task keeps in ctx.state to the hub's store, encrypted by "
        "a key of its own, and gets it back where it has lost it. Absent: its state never leaves the site.",
    )
    events: SiteEvents | None = Field(
        None, description="Present: the site speaks by queue to jobs that have spec.events. Absent: over HTTPS alone."
    )
    requires: Requires | None = Field(None, description="What the site demands of the jobs that it takes part in.")
    paused: bool = Field(False, description="True: the site takes no part in new rounds.")
    participation: Participation = Field(default_factory=Participation, description="How often the site takes part.")
    identity: Identity | None = Field(
        None,
        description="Present: the site signs what it sends, and nothing is taken from it that is not signed. Absent: its token is "
        "enough. It cannot be removed.",
    )
    enrollment: Enrollment | None = Field(
        None,
        description="Present: as long as the site has no key (identity), it takes no part in any job. `fedloom site enroll` gives it a "
        "one-time token to ask for one by, and `fedloom site approve` puts its key into identity.",
    )

    model_config = ConfigDict(json_schema_extra=rules(KEPT, REMEMBERS_RELEASES))


class Capability(StatusPart):
    """What a site says that it has; nobody has proved it."""

    cpu: Quantity | None = Field(None, description="Processors.")
    memory: Quantity | None = Field(None, description="Memory.")
    accelerator: Short | None = Field(None, description="Accelerators, in the site's own words.")


class CountedJob(StatusPart):
    """What of a job is in the counters."""

    uid: Short = Field(description="metadata.uid of the FederatedJob.")
    selected: int = Field(0, description="Rounds.", ge=0)
    accepted: int = Field(0, description="Of those.", ge=0)


class Participated(StatusPart):
    """In how many rounds the site took part, over all jobs, those that were deleted included."""

    selected: int = Field(0, description="Committed rounds that it was selected for.", ge=0)
    accepted: int = Field(0, description="Of those, rounds that have its update.", ge=0)
    failed: int = Field(0, description="Of those, rounds that have not: it failed, or came too late.", ge=0)
    last_round: int = Field(0, description="Last round with an accepted update, of `job`.", ge=0)
    job: Annotated[str, Field(max_length=63)] = Field("", description="The job whose rounds were counted last.")
    counted_time: str = Field(
        description="When they were counted; not more often than once a minute, in larger jobs once in as many minutes as the "
        "job has hundreds of sites, and when a job ends.",
        json_schema_extra={"format": "date-time"},
    )
    jobs: Annotated[list[CountedJob], Field(max_length=MAX_COUNTED, json_schema_extra=listed_by("uid"))] = Field(
        default_factory=list, description="Jobs that exist, with what of each is counted."
    )


class FLClientStatus(StatusPart):
    """What the operator knows of the site; written on transitions only."""

    conditions: Conditions | None = Field(None, description="Ready, Connected, DataAvailable.")
    active: bool | None = Field(None, description="Whether the site was heard from within 5 minutes.")
    accelerators: Annotated[str, Field(max_length=63)] | None = Field(
        None, description="Accelerator and count, for the eye."
    )
    capability: Capability | None = Field(
        None, description="What the site declares, where it sends heartbeats to the registry."
    )
    participation: Participated | None = Field(
        None, description="Rounds that the site was selected for. Absent before the first."
    )
    anomalies: SiteAnomalies | None = Field(
        None, description="Its last anomalous updates (at most 10), of all jobs with spec.anomalies, newest first."
    )
    observed_generation: int | None = Field(None, ge=0, description="metadata.generation that the conditions describe.")


class FLClient(Part):
    """An FLClient as the API server returns it."""

    metadata: ObjectMeta
    spec: FLClientSpec
    status: FLClientStatus = Field(default_factory=FLClientStatus)

    @classmethod
    def parse(cls, body: Json) -> Self:
        """From an API object; unknown spec fields are refused (pydantic.ValidationError)."""
        parts = {key: body[key] for key in ("metadata", "spec") if body.get(key) is not None}
        return cls.model_validate({**parts, "status": FLClientStatus.read(body.get("status"))})
