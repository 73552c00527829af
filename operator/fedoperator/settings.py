"""The operator's settings: read once from the environment (prefix FEDLOOM_OPERATOR_), frozen, printed at start.

Read by __main__ and handed on as values. Every field has its unit, its default and its reason. No secret is a
setting: keys live in a Secret that the operator makes itself.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from fedapi.crd.fields import Labels, Part
from fedapi.crd.flclient import FLClientSpec
from fedapi.names import OPERATOR_METRICS_PORT, OPERATOR_PROBE_PORT
from fedoperator.certificates import LIFETIME, LONGEST, SHORTEST
from fedoperator.decide.decision import Settings as DecisionSettings
from fedoperator.desired.certificate import GROUP, Issuer
from fedoperator.desired.registered_client import Allowed
from fedoperator.errors import SettingsInvalidError

PREFIX = "FEDLOOM_OPERATOR_"
SERVICE_ACCOUNT_DIR = "/var/run/secrets/kubernetes.io/serviceaccount"


class RegisteredClients(Part):
    """Sites that become FLClients when they register."""

    client_ids: Annotated[tuple[str, ...], Field(min_length=1)]
    organizations: tuple[str, ...] = ()
    match_labels: Labels = Field(default_factory=dict)
    labels: Labels = Field(default_factory=dict)
    spec: FLClientSpec

    def allowed(self) -> Allowed:
        """As a value."""
        return Allowed(self.client_ids, self.organizations, self.match_labels, self.labels, self.spec.dump())


class CertificateIssuer(Part):
    """An issuer of cert-manager's."""

    name: str = ""  # empty: there is none
    kind: str = Field("ClusterIssuer", min_length=1)
    group: str = Field(GROUP, min_length=1)

    def issuer(self) -> Issuer | None:
        """As a value."""
        return Issuer(self.name, self.kind, self.group) if self.name else None


class OperatorSettings(BaseSettings):
    """Everything that can be set about the process."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    namespace: str = Field("fedloom-system", description="Namespace of the operator: its Lease and its keys live here.")
    pod_name: str = Field("fedloom-operator", description="Name of this replica, its identity in the Lease.")
    watch_namespaces: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Namespaces to act in, separated by commas; empty: all of them."
    )
    aggregator_image: str = Field("fedloom/aggregator:latest", description="Image of the aggregators that are made.")
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        "IfNotPresent", description="Pull policy of that image."
    )
    cluster_domain: str = Field("cluster.local", description="Domain of the cluster's DNS, for certificates and URLs.")
    workers: int = Field(
        8, ge=1, le=64, description="Reconciles that run at once; they mostly wait for the API server."
    )
    resync_s: float = Field(300.0, gt=0, description="Seconds between looks at an object that nothing happened to.")
    leader_election: bool = Field(
        True, description="False only where one process is certain, as on a developer's machine."
    )
    lease_name: str = Field("fedloom-operator", description="Name of the Lease that elects the acting replica.")
    lease_duration_s: int = Field(15, ge=2, description="Seconds after which a silent leader's Lease may be taken.")
    lease_renew_deadline_s: int = Field(10, ge=1, description="Seconds without a renewal after which the leader ends.")
    lease_retry_s: int = Field(2, ge=1, description="Seconds between attempts to take or renew the Lease.")
    probe_port: int = Field(OPERATOR_PROBE_PORT, ge=0, le=65535, description="HTTP port of /healthz and /readyz.")
    metrics_port: int = Field(OPERATOR_METRICS_PORT, ge=0, le=65535, description="HTTP port of /metrics.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least severe line that is logged."
    )
    keys_secret: str = Field(
        "fedloom-operator-keys", description="Secret with the master key and the CA; made if absent."
    )
    certificate_lifetime_s: float = Field(
        LIFETIME.total_seconds(),
        ge=SHORTEST.total_seconds(),
        le=LONGEST.total_seconds(),
        description="Seconds for which certificates are good; they are renewed after two thirds of it.",
    )
    certificate_issuer: CertificateIssuer = Field(
        CertificateIssuer(),
        description="issuerRef of cert-manager, a JSON object: it makes certificates in the place of the operator's own CA. Without a name: none.",
    )
    pod_failures_per_round: int = Field(
        6, ge=0, description="Failures of one of a site's workers in one round before the site counts as failed."
    )
    site_retry_s: float = Field(60.0, gt=0, description="Seconds before a failed site is tried again.")
    watch_silence_s: float = Field(
        180.0,
        gt=0,
        description="Seconds without a sign of life of a watch after which /healthz fails: three reconnects.",
    )
    watch_reconnect_s: int = Field(
        60,
        ge=1,
        description="Seconds after which the API server ends a watch, which is then resumed: its sign of life.",
    )
    registry_url: str = Field(
        "", pattern=r"^(https://.*)?$", description="Where the registry of sites answers; empty: there is none."
    )
    registry_read_s: float = Field(30.0, gt=0, description="Seconds between two readings of the registry.")
    registry_secret: str = Field("", description="Secret with the registry's key and certificate; made if absent.")
    registry_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Names and addresses in the registry's certificate, separated by commas."
    )
    registry_clients: tuple[RegisteredClients, ...] = Field(
        (), description="Which registered sites become FLClients, and what these are like, a JSON list; empty: none."
    )
    registry_generations: dict[str, int] = Field(
        default_factory=dict, description="Generations of sites' tokens for the registry, a JSON object by client id."
    )
    service_account_dir: str = Field(SERVICE_ACCOUNT_DIR, description="Folder with token and ca.crt inside a cluster.")

    @field_validator("watch_namespaces", "registry_hosts", mode="before")
    @classmethod
    def _comma_list(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _lease_times_fit(self) -> Self:
        if not self.lease_duration_s > self.lease_renew_deadline_s > 1.2 * self.lease_retry_s:
            raise ValueError("LEASE_DURATION_S must exceed LEASE_RENEW_DEADLINE_S, and that 1.2 x LEASE_RETRY_S")
        return self

    @model_validator(mode="after")
    def _one_authority(self) -> Self:
        """Sites trust one CA, by which they know the registry as well."""
        if self.certificate_issuer.name and self.registry_url:
            raise ValueError(
                "CERTIFICATE_ISSUER goes without REGISTRY_URL: the registry's certificate is of the operator's own CA"
            )
        return self

    @classmethod
    def from_environment(cls) -> Self:
        """The settings; SettingsInvalidError names each variable that is wrong."""
        try:
            return cls()
        except ValidationError as error:
            lines = (f"{PREFIX}{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors())
            raise SettingsInvalidError("; ".join(lines)) from error

    def for_decisions(self) -> DecisionSettings:
        """The part that decisions depend on."""
        return DecisionSettings(
            aggregator_image=self.aggregator_image,
            image_pull_policy=self.image_pull_policy,
            cluster_domain=self.cluster_domain,
            pod_failures_per_round=self.pod_failures_per_round,
            site_retry_s=self.site_retry_s,
            registry_url=self.registry_url,
        )
