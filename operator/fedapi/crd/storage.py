"""Where objects are kept: a volume, or a bucket of one of three clouds. Parts of `spec.storage`, `spec.backup`, `spec.restoreFrom`.

A place in the API becomes a place on the wire (fedapi.wire.location) here; what only this module's callers know, the name of
a volume's claim, they add. Credentials are named, never held: a Secret, or the cloud's workload identity.
"""

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from fedapi import names
from fedapi.crd.fields import INT_OR_STRING, LIST_TYPE, Name, Part, Quantity, rule, rules
from fedapi.jsonvalue import Json
from fedapi.wire import location
from fedapi.wire.ciphertext import Kem

Prefix = Annotated[
    str,
    Field(
        min_length=1,
        max_length=200,
        pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$",
    ),
]
Endpoint = Annotated[
    str, Field(min_length=8, max_length=253, pattern=r"^https://[A-Za-z0-9.:_\[\]-]+(/[A-Za-z0-9._/-]*)?$")
]
Region = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9-]+$")]
_PREFIX = (
    "Begin of every key, so that a bucket can hold other things too; jobs do not get into each other's way without it."
)
_REGION = "Region that it is in; storage.residency needs it."
_ENDPOINT = (
    "https:// address of a store that is not the cloud's own; its certificate is verified with ca.crt of the Secret."
)


class SecretRef(Part):
    """A Secret of the job's namespace."""

    name: Name = Field(
        description=f"Name of the Secret; it begins with {names.STORE_SECRET_PREFIX}.",
        json_schema_extra=rules(
            rule(
                f"self.startsWith('{names.STORE_SECRET_PREFIX}')",
                f"must begin with {names.STORE_SECRET_PREFIX}: who may write jobs gets no other Secret mounted",
            )
        ),
    )


def _credentials(keys: str, otherwise: str) -> str:
    said = f"Secret whose keys are files of credentials: {keys}; ca.crt where the endpoint's certificate needs it."
    return f"{said} It is read again when it changes. Absent: {otherwise}"


class Volume(Part):
    """A claim that Fedloom makes."""

    size: Quantity = Field(
        "10Gi",
        description="Size of the claim.",
        json_schema_extra=rules(rule("self.matches('[1-9]')", "size must be over 0, for example 10Gi")),
    )
    storage_class_name: Name | None = Field(None, description="Storage class; absent: the cluster's default.")
    when_deleted: Literal["Retain", "Delete"] = Field(
        "Retain",
        description="What happens to the volume when the job is deleted or expires. Retain keeps what is on it.",
    )


class S3(Part):
    """A bucket of Amazon S3, or of a store that speaks its protocol. A backup's must have conditional writes."""

    bucket: Annotated[str, Field(min_length=3, max_length=63, pattern=r"^[a-z0-9][a-z0-9.-]*[a-z0-9]$")] = Field(
        description="Name of the bucket."
    )
    prefix: Prefix | None = Field(None, description=_PREFIX)
    region: Region | None = Field(None, description=f"{_REGION} Absent: as the SDK finds it.")
    endpoint: Endpoint | None = Field(None, description=_ENDPOINT)
    kms_key_id: Annotated[str, Field(min_length=1, max_length=2048)] | None = Field(
        None,
        alias="kmsKeyID",
        description="Id or ARN of the KMS key that encrypts what is written; absent: the bucket's default encryption.",
    )
    credentials_secret_ref: SecretRef | None = Field(
        None,
        description=_credentials(
            "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN",
            "the role of roleARN, EKS Pod Identity, or what else the SDK finds in a pod.",
        ),
    )
    role_arn: (
        Annotated[str, Field(max_length=2048, pattern=r"^arn:[a-z-]+:iam::[0-9]{12}:role/[\w+=,.@/-]+$")] | None
    ) = Field(
        None,
        alias="roleARN",
        description="IAM role of the pods' ServiceAccount (IRSA): its annotation eks.amazonaws.com/role-arn.",
    )

    def location(self) -> location.S3:
        """On the wire."""
        return location.S3(
            self.bucket, self.prefix or "", self.region or "", self.endpoint or "", self.kms_key_id or ""
        )


class S3Store(S3):
    """The same as the store of a job."""

    conditional_writes: Literal["Required", "LeaseFenced"] = Field(
        "Required",
        description="Required: a server that ignores the conditions of writes is refused. LeaseFenced: such a server is used "
        "all the same; the aggregator writes only while it holds a Lease of Kubernetes. Weaker: see docs/storage.md.",
        json_schema_extra=rules(
            rule("self == oldSelf", "conditionalWrites cannot change after creation: delete the job and create it anew")
        ),
    )

    def location(self) -> location.S3:
        """On the wire."""
        place = super().location()
        return replace(place, fence="lease") if self.conditional_writes == "LeaseFenced" else place


class Gcs(Part):
    """A bucket of Google Cloud Storage."""

    bucket: Annotated[str, Field(min_length=3, max_length=222, pattern=r"^[a-z0-9][a-z0-9._-]*[a-z0-9]$")] = Field(
        description="Name of the bucket."
    )
    prefix: Prefix | None = Field(None, description=_PREFIX)
    region: Region | None = Field(None, description=_REGION)
    endpoint: Endpoint | None = Field(None, description=_ENDPOINT)
    kms_key_name: (
        Annotated[
            str, Field(max_length=1024, pattern=r"^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+$")
        ]
        | None
    ) = Field(
        None,
        description="Resource name of the Cloud KMS key that encrypts what is written; absent: the bucket's default.",
    )
    credentials_secret_ref: SecretRef | None = Field(
        None,
        description=_credentials(
            "service-account.json", "workload identity, of the pods' ServiceAccount or of serviceAccount."
        ),
    )
    service_account: (
        Annotated[str, Field(max_length=253, pattern=r"^[a-z0-9.-]+@[a-z0-9.-]+[.]gserviceaccount[.]com$")] | None
    ) = Field(
        None,
        description="Google service account that the pods' ServiceAccount acts as (GKE workload identity): its "
        "annotation iam.gke.io/gcp-service-account.",
    )

    def location(self) -> location.Gcs:
        """On the wire."""
        return location.Gcs(self.bucket, self.prefix or "", self.endpoint or "", self.kms_key_name or "")


class Azure(Part):
    """A container of Azure Blob Storage."""

    account: Annotated[str, Field(min_length=3, max_length=24, pattern=r"^[a-z0-9]+$")] = Field(
        description="Name of the storage account."
    )
    container: Annotated[str, Field(min_length=3, max_length=63, pattern=r"^[a-z0-9](-?[a-z0-9])*$")] = Field(
        description="Name of the container."
    )
    prefix: Prefix | None = Field(None, description=_PREFIX)
    region: Region | None = Field(None, description=_REGION)
    endpoint: Endpoint | None = Field(None, description=_ENDPOINT)
    encryption_scope: Annotated[str, Field(min_length=3, max_length=63, pattern=r"^[A-Za-z0-9-]+$")] | None = Field(
        None,
        description="Encryption scope of the account, which names a key of yours; absent: the container's default.",
    )
    credentials_secret_ref: SecretRef | None = Field(
        None,
        description=_credentials(
            "AZURE_STORAGE_KEY, or AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET",
            "workload identity with clientID, or what else the SDK finds in a pod.",
        ),
    )
    client_id: (
        Annotated[str, Field(max_length=36, pattern=r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")] | None
    ) = Field(
        None,
        alias="clientID",
        description="Client id of the managed identity or application that the pods' ServiceAccount acts as (AKS "
        "workload identity): its annotation azure.workload.identity/client-id.",
    )

    def location(self) -> location.Azure:
        """On the wire."""
        return location.Azure(
            self.account, self.container, self.prefix or "", self.endpoint or "", self.encryption_scope or ""
        )


Bucket = S3 | Gcs | Azure
Place = Volume | Bucket


def cloud_of(bucket: Bucket) -> str:
    """The field that a bucket is in: s3, gcs or azure."""
    return "s3" if isinstance(bucket, S3) else "gcs" if isinstance(bucket, Gcs) else "azure"


ONE_PLACE = rule(
    "[has(self.volume), has(self.s3), has(self.gcs), has(self.azure)].filter(there, there).size() <= 1",
    "volume, s3, gcs and azure exclude each other: keep one",
)


def _stays(*fields: str) -> str:
    """CEL: optional strings are what they were."""
    pairs = (tuple(f"(has({of}.{field}) ? {of}.{field} : '')" for of in ("self", "oldSelf")) for field in fields)
    return " && ".join(f"{now} == {before}" for now, before in pairs)


def _same_in_volume(field: str, default: str) -> str:
    """CEL: a field of `volume`, which may be absent as a whole, says what it said."""
    now, before = (
        f"(has({of}.volume) && has({of}.volume.{field}) ? {of}.volume.{field} : '{default}')"
        for of in ("self", "oldSelf")
    )
    return f"{now} == {before}"


def _fixed(cloud: str, *fields: str) -> Json:
    """What says where the objects are cannot change; keys and identities can."""
    what, way_out = f"the place of storage.{cloud}", "delete the job and create it anew"
    return rules(rule(_stays(*fields), f"{what} cannot change after creation: {way_out}"))


class History(Part):
    """Which committed rounds keep their model."""

    keep: int | Annotated[str, Field(max_length=8)] = Field(
        "All",
        description="All, or how many of the last rounds keep their model, and what the strategy remembers of them. The "
        "last two and the best round always do.",
        json_schema_extra=rules(
            rule(
                "type(self) == int ? self >= 1 : string(self) == 'All'",
                "keep must be All or a count of at least 1, for example 10",
            ),
            rule("type(self) != int || self <= 100000", "keep must be a count of at most 100000, or All"),
        )
        | {INT_OR_STRING: True},
    )


class ClientEncryption(Part):
    """Encryption of updates at the sites."""

    enabled: bool | None = Field(None, description="Absent: with a bucket, and not with a volume.")
    kem: Kem = Field(
        "MLKEM768X25519",
        description="How the key of an update is sealed (HPKE). MLKEM768X25519: the hybrid that a quantum computer does not "
        "open; X25519 for sites whose cryptography library lacks it.",
    )


class Storage(Part):
    """Where the job's models, updates and records are kept: on a volume, unless a bucket is named."""

    volume: Volume | None = Field(None, description="A volume claim that Fedloom makes; the default.")
    s3: S3Store | None = Field(
        None,
        description="A bucket of Amazon S3, or of a store that speaks its protocol.",
        json_schema_extra=_fixed("s3", "bucket", "prefix", "region", "endpoint"),
    )
    gcs: Gcs | None = Field(
        None,
        description="A bucket of Google Cloud Storage.",
        json_schema_extra=_fixed("gcs", "bucket", "prefix", "region", "endpoint"),
    )
    azure: Azure | None = Field(
        None,
        description="A container of Azure Blob Storage.",
        json_schema_extra=_fixed("azure", "account", "container", "prefix", "region", "endpoint"),
    )
    history: History = Field(default_factory=History, description="Which committed rounds keep their model.")
    client_encryption: ClientEncryption | None = Field(
        None,
        description="Whether sites encrypt their updates to the aggregator's key, so that whoever can read the store cannot "
        "read them.",
    )
    residency: (
        Annotated[list[Region], Field(min_length=1, max_length=16, json_schema_extra={LIST_TYPE: "set"})] | None
    ) = Field(
        None,
        description="Regions in which the store, the backup and the aggregator may be: a bucket elsewhere is refused, and the "
        "hub's pods run on nodes with one of them in their label topology.kubernetes.io/region.",
    )

    may_lack: (
        Annotated[
            list[Annotated[str, Field(min_length=1, max_length=100)]],
            Field(min_length=1, max_length=32, json_schema_extra={LIST_TYPE: "set"}),
        ]
        | None
    ) = Field(
        None,
        description="Requirements, as the table of `fedloom storage check` names them, that the bucket need not meet for the "
        "condition StorageSafe.",
    )

    model_config = ConfigDict(
        json_schema_extra=rules(
            ONE_PLACE,
            rule(
                "has(self.s3) == has(oldSelf.s3) && has(self.gcs) == has(oldSelf.gcs) && "
                "has(self.azure) == has(oldSelf.azure)",
                "the kind of storage cannot change after creation: delete the job and create it anew",
            ),
            rule(
                " && ".join(
                    _same_in_volume(field, default)
                    for field, default in (("size", "10Gi"), ("storageClassName", ""), ("whenDeleted", "Retain"))
                ),
                "storage.volume cannot change after creation: delete the job and create it anew",
            ),
        )
    )

    @property
    def bucket(self) -> Bucket | None:
        """The bucket; None: a volume."""
        return self.s3 or self.gcs or self.azure

    @property
    def encrypted_by(self) -> Kem | None:
        """How the sites' keys are sealed; None: updates are not encrypted."""
        asked = self.client_encryption or ClientEncryption()
        enabled = self.bucket is not None if asked.enabled is None else asked.enabled
        return asked.kem if enabled else None


class Destination(Part):
    """Where backups are kept: on a volume of their own, unless a bucket is named. Never in the store itself."""

    volume: Volume | None = Field(None, description="A volume claim that Fedloom makes; the default.")
    s3: S3 | None = Field(None, description="A bucket of Amazon S3, or of a store that speaks its protocol.")
    gcs: Gcs | None = Field(None, description="A bucket of Google Cloud Storage.")
    azure: Azure | None = Field(None, description="A container of Azure Blob Storage.")

    model_config = ConfigDict(json_schema_extra=rules(ONE_PLACE))

    @property
    def bucket(self) -> Bucket | None:
        """The bucket; None: a volume."""
        return self.s3 or self.gcs or self.azure
