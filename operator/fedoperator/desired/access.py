"""What a process of the hub may do in the API, and as whom it acts in a cloud: ServiceAccount, Role and RoleBinding.

Everything is limited by resourceNames. The aggregator writes its own job's status, the heartbeats of its own sites and, where its
store needs one, its own job's Lease; a backup writes its own job's status and reads the objects that it keeps a copy of.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fedapi import names
from fedapi.jsonvalue import Json
from fedoperator.desired.identity import Identity


@dataclass(frozen=True)
class Party:
    """Whose account and rights: the aggregator's, or those of its backups."""

    name: str
    role: str


def aggregator(identity: Identity) -> Party:
    """The aggregator."""
    return Party(identity.aggregator, names.ROLE_AGGREGATOR)


def backup(identity: Identity) -> Party:
    """All pods that read or write backups."""
    return Party(identity.backup_account, names.ROLE_BACKUP)


def service_account(identity: Identity, party: Party, identities: Mapping[str, str]) -> Json:
    """The ServiceAccount. `identities`: annotations by which clouds know it."""
    metadata = identity.metadata(party.name, party.role)
    annotations = {"annotations": dict(identities)} if identities else {}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata | annotations}


def _rule(group: str, resource: str, verbs: list[str], allowed: list[str]) -> Json:
    return {"apiGroups": [group], "resources": [resource], "resourceNames": allowed, "verbs": verbs}


def aggregator_role(identity: Identity, clients: Iterable[str], *, fenced: bool = False) -> Json:
    """The aggregator's Role. `fenced`: it holds the job's Lease.

    Without Leases there is no rule for them: an empty resourceNames would mean all of them.
    """
    own = [names.job_lease_name(identity.name)] if fenced else []
    leases = own + sorted(names.site_lease_name(client) for client in clients)
    beats = [_rule("coordination.k8s.io", "leases", ["get", "patch"], leases)] if leases else []
    return _role(identity, aggregator(identity), [*_own_job(identity), *beats])


def backup_role(identity: Identity, clients: Iterable[str]) -> Json:
    """The Role of backups."""
    sites = sorted(clients)
    read = [_rule(names.GROUP, names.CLIENT_PLURAL, ["get"], sites)] if sites else []
    return _role(identity, backup(identity), [*_own_job(identity), *read])


def _own_job(identity: Identity) -> list[Json]:
    return [
        _rule(names.GROUP, names.JOB_PLURAL, ["get"], [identity.name]),
        _rule(names.GROUP, f"{names.JOB_PLURAL}/status", ["get", "patch"], [identity.name]),
    ]


def _role(identity: Identity, party: Party, rules: list[Json]) -> Json:
    metadata = identity.metadata(party.name, party.role)
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata, "rules": rules}


def role_binding(identity: Identity, party: Party) -> Json:
    """Binds the Role to the ServiceAccount."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": identity.metadata(party.name, party.role),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": party.name},
        "subjects": [{"kind": "ServiceAccount", "name": party.name, "namespace": identity.namespace}],
    }
