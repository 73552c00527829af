"""Who a child object belongs to: its metadata, labels and owner reference. Used by every builder beside it."""

from collections.abc import Mapping
from dataclasses import dataclass

from fedapi import names
from fedapi.crd.federatedjob import FederatedJob
from fedapi.crd.flclient import FLClient
from fedapi.jsonvalue import Json


def _reference(kind: str, name: str, uid: str) -> Json:
    return {
        "apiVersion": names.API_VERSION,
        "kind": kind,
        "name": name,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


@dataclass(frozen=True)
class Identity:
    """A FederatedJob as its children see it: namespace, name, uid, and the keys that its Secrets are made from."""

    namespace: str
    name: str
    uid: str
    keys: str = ""

    @classmethod
    def of(cls, job: FederatedJob, keys: str = "") -> "Identity":
        """The identity of a job. `keys`: Settings.keys_id, where Secrets are named."""
        return cls(job.metadata.namespace, job.metadata.name, job.metadata.uid, keys)

    @property
    def aggregator(self) -> str:
        """Name of the Deployment, Service, ServiceAccount, Role, RoleBinding and ConfigMap."""
        return names.aggregator_name(self.name)

    @property
    def secret(self) -> str:
        """Name of the aggregator's Secret."""
        return names.aggregator_secret_name(self.name, self.uid, self.keys)

    @property
    def init_secret(self) -> str:
        """Name of the init step's Secret."""
        return names.init_secret_name(self.name, self.uid, self.keys)

    def site_secret(self, client: str) -> str:
        """Name of a site's Secret."""
        return names.site_secret_name(self.name, client, self.uid, self.keys)

    @property
    def claim(self) -> str:
        """Name of the store's volume claim."""
        return names.store_claim_name(self.name, self.uid)

    @property
    def backup_claim(self) -> str:
        """Name of the volume claim of its backups."""
        return names.backup_claim_name(self.name, self.uid)

    @property
    def backup(self) -> str:
        """Name of the CronJob of backups."""
        return names.backup_name(self.name)

    @property
    def backup_account(self) -> str:
        """Name of the ServiceAccount, Role and RoleBinding of all that reads or writes backups."""
        return names.backup_account_name(self.name)

    @property
    def verify(self) -> str:
        """Name of the CronJob that verifies backups."""
        return names.verify_name(self.name)

    def owner(self) -> Json:
        """The owner reference of the job's children."""
        return _reference(names.JOB_KIND, self.name, self.uid)

    def labels(self, role: str, client: str = "") -> dict[str, str]:
        """Labels of a child and of its pods."""
        labels = {
            names.LABEL_MANAGED_BY: names.MANAGED_BY,
            names.LABEL_JOB: self.name,
            names.LABEL_JOB_UID: self.uid,
            names.LABEL_ROLE: role,
        }
        return labels | ({names.LABEL_CLIENT: client} if client else {})

    def metadata(self, name: str, role: str, client: str = "", *, owned: bool = True) -> Json:
        """Metadata of a child. Not owned: it survives the job (a retained store volume)."""
        metadata: Json = {"name": name, "namespace": self.namespace, "labels": self.labels(role, client)}
        return metadata | ({"ownerReferences": [self.owner()]} if owned else {})


def client_metadata(client: FLClient, name: str) -> Json:
    """Metadata of an object that belongs to a site rather than to a job."""
    labels: Mapping[str, str] = {
        names.LABEL_MANAGED_BY: names.MANAGED_BY,
        names.LABEL_CLIENT: client.metadata.name,
        names.LABEL_ROLE: names.ROLE_SITE,
    }
    owner = _reference(names.CLIENT_KIND, client.metadata.name, client.metadata.uid)
    return {"name": name, "namespace": client.metadata.namespace, "labels": dict(labels), "ownerReferences": [owner]}
