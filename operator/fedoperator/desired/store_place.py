"""A store as a pod of the hub sees it: its place as text, what is mounted for it, and the cloud's identity.

Used by the builders of the aggregator and of backups. Credentials are a Secret that only the pod's user may read, or
come from the cloud's workload identity, which its own webhook puts into pods by annotations. Pure.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fedapi import names
from fedapi.crd.federatedjob import FederatedJobSpec
from fedapi.crd.storage import S3, Azure, Bucket, Gcs
from fedapi.jsonvalue import Json
from fedapi.wire import location
from fedoperator.desired.pod import Mount, secret_source


@dataclass(frozen=True)
class Where:
    """How a pod is told of one of its stores: variables and paths."""

    name: str  # of the pod's volume
    variable: str
    path: str
    credentials_variable: str
    credentials_path: str


STORE = Where("store", names.ENV_STORE, names.PATH_STORE, names.ENV_STORE_CREDENTIALS_DIR, names.PATH_STORE_CREDENTIALS)
BACKUP = Where(
    "backup", names.ENV_BACKUP_STORE, names.PATH_BACKUP, names.ENV_BACKUP_CREDENTIALS_DIR, names.PATH_BACKUP_CREDENTIALS
)


def environment(where: Where, bucket: Bucket | None) -> dict[str, str]:
    """Where the store is. `bucket` None: on a volume."""
    if bucket is None:
        return {where.variable: where.path}
    told = {where.variable: bucket.location().text()}
    return told | ({where.credentials_variable: where.credentials_path} if bucket.credentials_secret_ref else {})


def mounts(where: Where, bucket: Bucket | None, claim: str, *, read_only: bool = False) -> tuple[Mount, ...]:
    """The volume, or the credentials."""
    if bucket is None:
        source = {"persistentVolumeClaim": {"claimName": claim}}
        return (Mount(where.name, source, where.path, read_only=read_only),)
    if bucket.credentials_secret_ref is None:
        return ()
    secret = secret_source(bucket.credentials_secret_ref.name)
    return (Mount(f"{where.name}-credentials", secret, where.credentials_path, read_only=True),)


def uri(bucket: Bucket | None, claim: str) -> str:
    """Prefix of the URIs of what is in the store, for people."""
    match bucket:
        case None:
            return f"volume://{claim}"
        case S3():
            return location.S3(bucket.bucket, bucket.prefix or "").text()
        case Gcs():
            return location.Gcs(bucket.bucket, bucket.prefix or "").text()
        case Azure():
            return location.Azure(bucket.account, bucket.container, bucket.prefix or "").text()


def identities(buckets: Iterable[Bucket | None]) -> dict[str, str]:
    """Annotations of the ServiceAccount whose pods use these buckets."""
    found: dict[str, str] = {}
    for bucket in buckets:
        match bucket:
            case S3(role_arn=str(role)):
                found[names.ANNOTATION_AWS_ROLE] = role
            case Gcs(service_account=str(account)):
                found[names.ANNOTATION_GCP_ACCOUNT] = account
            case Azure(client_id=str(client)):
                found[names.ANNOTATION_AZURE_CLIENT] = client
    return found


def pod_labels(buckets: Iterable[Bucket | None]) -> dict[str, str]:
    """Labels of pods that use these buckets: by one of them Azure's webhook knows whom to give an identity."""
    return {names.LABEL_AZURE_IDENTITY: "true"} if names.ANNOTATION_AZURE_CLIENT in identities(buckets) else {}


def affinity(spec: FederatedJobSpec, beside: Mapping[str, Any] | None = None) -> Json:
    """Where pods of the hub may run, as a part of their spec: in the regions of `storage.residency`.

    `beside`: a label selector of pods on whose node they must be, where there are any.
    """
    made: Json = {}
    if spec.storage.residency:
        regions = {"key": names.LABEL_REGION, "operator": "In", "values": list(spec.storage.residency)}
        terms = {"nodeSelectorTerms": [{"matchExpressions": [regions]}]}
        made["nodeAffinity"] = {"requiredDuringSchedulingIgnoredDuringExecution": terms}
    if beside is not None:
        term = {"labelSelector": dict(beside), "topologyKey": names.LABEL_HOSTNAME}
        made["podAffinity"] = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
    return {"affinity": made} if made else {}
