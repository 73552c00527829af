"""Observed and Decision: the two values that every decision stands between. Pure.

Filled by fedoperator.cluster.observe (or fedlocal), carried out by fedoperator.cluster.apply (or fedlocal).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from fedapi.crd.anomalies import SiteAnomaly
from fedapi.crd.federatedjob import FederatedJob
from fedapi.crd.flclient import Capability, FLClient
from fedapi.jsonvalue import JsonView
from fedoperator.desired.secret_requests import SecretRequest


@dataclass(frozen=True)
class Key:
    """Identity of an object within a namespace: (kind, name)."""

    kind: str
    name: str


@dataclass(frozen=True)
class Settings:
    """The operator's settings that decisions depend on."""

    aggregator_image: str
    image_pull_policy: str = "IfNotPresent"
    cluster_domain: str = "cluster.local"
    pod_failures_per_round: int = 6
    site_retry_s: float = 60.0
    registry_url: str = ""  # where training pods send heartbeats, beside those that their aggregator renews
    keys_id: str = ""  # of the installation's keys, once they are known: part of the names of Secrets


@dataclass(frozen=True)
class Refused:
    """A child that cannot be written: somebody else has its name, or the API server does not take it."""

    key: Key
    message: str
    foreign: bool = False


@dataclass(frozen=True)
class PodRefusal:
    """The newest event that says why the cluster makes no pods for a Job."""

    message: str
    seen: str  # RFC 3339, of the last time; empty when the event does not say


@dataclass(frozen=True)
class Observed:
    """Everything that a decision about one FederatedJob may depend on; all from one namespace."""

    job: FederatedJob
    clients: tuple[FLClient, ...]  # of the namespace, unfiltered, with valid specs only
    children: Mapping[
        Key, JsonView
    ]  # live objects with the job's label, or controlled by it (Deployment, Job, JobSet, PVC, …)
    pods: tuple[JsonView, ...]  # pods that carry the job's label
    secrets: frozenset[str]  # names of Secrets that the shell knows to exist for this job
    settings: Settings
    invalid: str = ""  # why the job's spec could not be read; then only conditions are decided
    jobset: bool = False  # whether the cluster has the JobSet resource
    refused: tuple[Refused, ...] = ()  # what the shell could not write when it last tried
    podless: Mapping[str, PodRefusal] = field(default_factory=dict)  # by the name of a Job that lacks pods


@dataclass(frozen=True)
class Event:
    """A Kubernetes event on the job, emitted after the writes."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True)
class Decision:
    """What must be true next. Applying it twice changes nothing the second time."""

    objects: tuple[JsonView, ...] = ()  # applied by server-side apply, only where an owned leaf differs
    secrets: tuple[SecretRequest, ...] = ()  # create if absent
    suspend: Mapping[str, bool] = field(
        default_factory=dict
    )  # name of a Job or JobSet -> spec.suspend, a merge patch of that field alone
    delete: tuple[Key, ...] = ()  # background propagation, preconditioned on the uid that was observed
    status: JsonView | None = None  # the operator's leaves of .status; None: leave it alone
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None  # seconds
    delete_self: bool = False  # ttlSecondsAfterFinished has passed


@dataclass(frozen=True)
class Registered:
    """What the registry knows of a site that sends heartbeats itself."""

    last_seen: datetime
    capability: Capability


@dataclass(frozen=True)
class JobCount:
    """What a job says of the rounds of a site."""

    uid: str
    name: str
    final: bool  # it will not say more
    selected: int = 0
    accepted: int = 0
    last_round: int = 0
    named: int = 1  # sites that it names


@dataclass(frozen=True)
class ObservedClient:
    """Everything that a decision about one FLClient may depend on."""

    client: FLClient
    lease: JsonView | None  # its heartbeat
    pods: tuple[JsonView, ...] = ()  # training pods that carry the client's label
    invalid: str = ""
    refused: tuple[Refused, ...] = ()  # what the shell could not write when it last tried: its Lease
    registered: Registered | None = None
    registry_away: bool = False  # there is a registry, and nobody knows what it would say now
    jobs: tuple[JobCount, ...] = ()  # that count its rounds
    anomalies: tuple[SiteAnomaly, ...] = ()  # that jobs tell of it
