"""What the aggregator may do in the API: its ServiceAccount, Role and RoleBinding.

Everything is limited by resourceNames: its own job's status, and the heartbeats of its own sites.
"""

from collections.abc import Iterable

from fedapi import names
from fedapi.jsonvalue import Json
from fedoperator.desired.identity import Identity


def service_account(identity: Identity) -> Json:
    """The aggregator's ServiceAccount."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": identity.metadata(identity.aggregator, names.ROLE_AGGREGATOR),
    }


def _rule(group: str, resource: str, verbs: list[str], allowed: list[str]) -> Json:
    return {"apiGroups": [group], "resources": [resource], "resourceNames": allowed, "verbs": verbs}


def role(identity: Identity, clients: Iterable[str]) -> Json:
    """The aggregator's Role. Without sites there is no rule for Leases: an empty resourceNames would mean all of them."""
    rules = [
        _rule(names.GROUP, names.JOB_PLURAL, ["get"], [identity.name]),
        _rule(names.GROUP, f"{names.JOB_PLURAL}/status", ["get", "patch"], [identity.name]),
    ]
    leases = sorted(names.site_lease_name(client) for client in clients)
    if leases:
        rules.append(_rule("coordination.k8s.io", "leases", ["get", "patch"], leases))
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": identity.metadata(identity.aggregator, names.ROLE_AGGREGATOR),
        "rules": rules,
    }


def role_binding(identity: Identity) -> Json:
    """Binds the Role to the ServiceAccount."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": identity.metadata(identity.aggregator, names.ROLE_AGGREGATOR),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": identity.aggregator},
        "subjects": [{"kind": "ServiceAccount", "name": identity.aggregator, "namespace": identity.namespace}],
    }
