"""The claim of the volume that keeps a job's models, updates and records.

It has no owner reference unless the user asked for Delete: deleting or expiring a job never deletes its only model.
"""

from fedapi import names
from fedapi.crd.federatedjob import FederatedJob
from fedapi.crd.storage import Volume
from fedapi.jsonvalue import Json
from fedoperator.desired.difference import quantity
from fedoperator.desired.identity import Identity


def store_claim(job: FederatedJob, enlarged_to: str | None = None) -> Json:
    """The store's PersistentVolumeClaim. ReadWriteOnce: HEAD's compare-and-swap needs one node's file system.

    `enlarged_to`: the live claim's size; a claim that somebody made larger is never asked to shrink.
    """
    identity, volume = Identity.of(job), job.spec.storage.volume or Volume()
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
        "metadata": identity.metadata(identity.claim, names.ROLE_STORE, owned=owned),
        "spec": spec,
    }
