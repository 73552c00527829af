"""What the pods of backups, verifications and restores share: the hub's image, the signing key, what they see of the API.

They run once, as Jobs do, and nobody connects to them. Used by backup_job.py and restore_job.py.
"""

from fedapi import names, outcome
from fedapi.crd.federatedjob import FederatedJob
from fedapi.crd.podfields import Resources
from fedapi.crd.storage import Bucket
from fedapi.jsonvalue import Json
from fedoperator.desired import store_place
from fedoperator.desired.identity import Identity
from fedoperator.desired.init_job import HubImage
from fedoperator.desired.pod import Mount, PodParts, resources

CONTAINER, EVALUATE = "backup", "evaluate"  # the second runs the task's code: clouds give it no identity
DEFAULT_RESOURCES = Resources(requests={"cpu": "100m", "memory": "128Mi"}, limits={"memory": "512Mi"})
BACKOFF = 2  # a copy goes on where it ended; what fails so often is told, and tried again by its schedule
FATAL = (*outcome.FATAL, *outcome.BACKUP_FATAL)


def buckets(job: FederatedJob) -> tuple[Bucket | None, ...]:
    """Of all that the pods use: store, destination and the source of a restore. The identity of a later one wins."""
    spec = job.spec
    backup = spec.backup.destination.bucket if spec.backup else None
    return spec.storage.bucket, backup, spec.restore_from.source.bucket if spec.restore_from else None


def environment(identity: Identity) -> dict[str, str]:
    """Environment of all of them."""
    return {
        names.ENV_JOB: identity.name,
        names.ENV_NAMESPACE: identity.namespace,
        names.ENV_JOB_UID: identity.uid,
        names.ENV_CREDENTIALS_DIR: names.PATH_CREDENTIALS,
        names.ENV_TERMINATION_LOG: names.PATH_TERMINATION_LOG,
    }


def signing_key(identity: Identity) -> Mount:
    """Of the aggregator's Secret the job's key alone: what its backups are signed with derives from it."""
    items = [{"key": names.FILE_JOB_KEY, "path": names.FILE_JOB_KEY}]
    secret = {"secretName": identity.secret, "defaultMode": 0o440, "items": items}
    return Mount("credentials", {"secret": secret}, names.PATH_CREDENTIALS, read_only=True)


def api_access() -> Mount:
    """The ServiceAccount's token where clients look for it, in one container alone: what a pod mounts itself is in all."""
    namespace = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    sources: list[Json] = [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": names.FILE_CA, "path": names.FILE_CA}]}},
        {"downwardAPI": {"items": [namespace]}},
    ]
    return Mount("api", {"projected": {"sources": sources, "defaultMode": 0o440}}, names.PATH_API, read_only=True)


def parts(job: FederatedJob, hub: HubImage, role: str, command: str) -> PodParts:
    """The hub's container, and what it says of its pod; the builders add what it works on."""
    identity, spec = Identity.of(job), job.spec
    patch = spec.aggregator.pod_template
    return PodParts(
        labels=identity.labels(role) | store_place.pod_labels(buckets(job)),
        container=CONTAINER,
        image=hub.image,
        pull_policy=hub.pull_policy,
        command=names.BACKUP_COMMAND,
        args=(command,),
        env=environment(identity),
        user_env=patch.variables() if patch else {},
        resources=resources(DEFAULT_RESOURCES, spec.aggregator.resources),
        patch=patch,
        priority_class=spec.priority_class_name,
    )
