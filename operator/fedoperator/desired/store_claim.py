"""The claims of the volumes that keep a job's models, updates and records, and its backups.

One has no owner reference unless the user asked for Delete: deleting or expiring a job never deletes its only model.
"""

from fedapi import names
from fedapi.crd.federatedjob import FederatedJob
from fedapi.crd.storage import Volume
from fedapi.jsonvalue import Json
from fedoperator.desired.difference import quantity
from fedoperator.desired.identity import Identity


def store_claim(job: FederatedJob, enlarged_to: str | None = None) -> Json:
    """The store's PersistentVolumeClaim. `enlarged_to`: the live claim's size."""
    identity = Identity.of(job)
    return _claim(identity, identity.claim, names.ROLE_STORE, job.spec.storage.volume or Volume(), enlarged_to)


def backup_claim(job: FederatedJob, volume: Volume, enlarged_to: str | None = None) -> Json:
    """The PersistentVolumeClaim of its backups."""
    identity = Identity.of(job)
    return _claim(identity, identity.backup_claim, names.ROLE_BACKUP, volume, enlarged_to)


def _claim(identity: Identity, name: str, role: str, volume: Volume, enlarged_to: str | None) -> Json:
    """ReadWriteOnce: HEAD's compare-and-swap needs one node's file system.

    A claim that somebody made larger is never asked to shrink.
    """
    size = volume.size
    if enlarged_to is not None and quantity(enlarged_to) > quantity(size):
        size = enlarged_to
    spec: Json = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    if volume.storage_class_name:
        spec["storageClassName"] = volume.storage_class_name
    owned = volume.when_deleted == "Delete"
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": identity.metadata(name, role, owned=owned),
        "spec": spec,
    }
