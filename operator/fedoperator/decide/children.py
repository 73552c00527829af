"""Which objects a job has: the table of its children, and what follows from it. Applied only where they differ.

A new child is a builder (desired/), a policy and a row here; an API kind that the operator does not know yet is a row of
desired/kinds.py as well. A live object in a row's kind and role that its policy neither wants nor keeps is deleted. One
that still carries the uid of a deleted job of the same name is deleted first and made afterwards.
"""

from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass

from fedapi import names
from fedapi.jsonvalue import JsonView
from fedoperator.decide import backups, hub, initializing, replacement, restoring, rings, roster, store
from fedoperator.decide.context import JobContext
from fedoperator.decide.decision import Key
from fedoperator.decide.view import labels
from fedoperator.desired.ownership import Standing, belongs_to_job, owner_of, standing
from fedoperator.desired.secret_requests import SecretRequest, secret_requests


def _by_hand(context: JobContext, live: JsonView) -> bool:
    """Whether an object only bears the job's labels, as what `kubectl expose` makes: it is a person's, and stays."""
    del context
    return owner_of(live) is None


@dataclass(frozen=True)
class Child:
    """A kind of child in one role: the objects that are wanted now, and which of the live others are kept."""

    kind: str
    role: str
    wanted: Callable[[JobContext], Iterable[JsonView]]
    kept: Callable[[JobContext, JsonView], bool] = _by_hand


# In the order in which they are needed.
TABLE: tuple[Child, ...] = (
    Child("ServiceAccount", names.ROLE_AGGREGATOR, hub.accounts),
    Child("Role", names.ROLE_AGGREGATOR, hub.roles),
    Child("RoleBinding", names.ROLE_AGGREGATOR, hub.role_bindings),
    Child("Lease", names.ROLE_AGGREGATOR, hub.leases),
    Child("ConfigMap", names.ROLE_AGGREGATOR, roster.config_maps),
    Child("PersistentVolumeClaim", names.ROLE_STORE, store.claims, store.kept),
    Child("ServiceAccount", names.ROLE_BACKUP, backups.accounts),
    Child("Role", names.ROLE_BACKUP, backups.roles),
    Child("RoleBinding", names.ROLE_BACKUP, backups.role_bindings),
    Child("PersistentVolumeClaim", names.ROLE_BACKUP, backups.claims, backups.claim_kept),
    Child("Job", names.ROLE_RESTORE, restoring.jobs, restoring.kept),
    Child("Service", names.ROLE_AGGREGATOR, hub.services),
    Child("NetworkPolicy", names.ROLE_AGGREGATOR, hub.network_policies),
    Child("Deployment", names.ROLE_AGGREGATOR, hub.deployments),
    Child("CronJob", names.ROLE_BACKUP, backups.cron_jobs),
    Child("CronJob", names.ROLE_VERIFY, backups.verify_cron_jobs),
    Child("Job", names.ROLE_BACKUP, backups.jobs, backups.job_kept),
    Child("Job", names.ROLE_INIT, initializing.jobs, initializing.kept),
    Child("Service", names.ROLE_TRAINER, rings.services, rings.kept),
    Child("NetworkPolicy", names.ROLE_TRAINER, rings.network_policies, rings.kept),
    Child("Job", names.ROLE_TRAINER, replacement.jobs, replacement.kept),
    Child("JobSet", names.ROLE_TRAINER, replacement.jobsets, replacement.kept),
)


LASTING = (names.ROLE_BACKUP, names.ROLE_VERIFY)  # roles of what works on after the end of the job


def wanted(context: JobContext, roles: Container[str] | None = None) -> tuple[JsonView, ...]:
    """Every object that the job should have now, or those of some roles."""
    rows = (child for child in TABLE if roles is None or child.role in roles)
    return tuple(manifest for child in rows for manifest in child.wanted(context))


def pruned(context: JobContext, objects: Iterable[JsonView], roles: Container[str] | None = None) -> tuple[Key, ...]:
    """The job's live objects that are neither among those that it should have, nor kept; or those of some roles."""
    rows = {(child.kind, child.role): child for child in TABLE if roles is None or child.role in roles}
    there = {_key(manifest) for manifest in objects}
    found = ((key, body, rows.get((key.kind, _role(body)))) for key, body in _live(context) if key not in there)
    gone = (key for key, body, child in found if child is not None and not child.kept(context, body))
    return tuple(sorted(gone, key=lambda key: (key.kind, key.name)))


def _live(context: JobContext) -> Iterator[tuple[Key, JsonView]]:
    for key, body in context.observed.children.items():
        if belongs_to_job(body, context.identity.uid) and "deletionTimestamp" not in body["metadata"]:
            yield key, body


def _role(body: JsonView) -> str:
    return labels(body).get(names.LABEL_ROLE, "")


def _key(manifest: JsonView) -> Key:
    return Key(manifest["kind"], manifest["metadata"]["name"])


def predecessors(context: JobContext, objects: Iterable[JsonView]) -> tuple[Key, ...]:
    """Live objects in the way that belong to a deleted job of the same name. Never a volume: its name has the uid."""
    live = context.observed.children
    there = ((manifest, live.get(_key(manifest))) for manifest in objects)
    found = ((manifest, body) for manifest, body in there if body is not None)
    return tuple(_key(manifest) for manifest, body in found if standing(manifest, body) is Standing.PREDECESSORS)


def without(objects: Iterable[JsonView], keys: Iterable[Key]) -> tuple[JsonView, ...]:
    """The objects that have none of the keys."""
    left_out = frozenset(keys)
    return tuple(manifest for manifest in objects if _key(manifest) not in left_out)


def secrets(context: JobContext) -> tuple[SecretRequest, ...]:
    """Secrets that are not known to exist yet."""
    clients = (site.name for site in context.sites)
    domain, certified = context.observed.settings.cluster_domain, context.spec.clients.certificates == "Required"
    requests = secret_requests(context.identity, clients, domain, certified=certified)
    return tuple(request for request in requests if request.name not in context.observed.secrets)


def aggregator_secrets(context: JobContext) -> tuple[SecretRequest, ...]:
    """The same of the aggregator alone."""
    return tuple(request for request in secrets(context) if request.kind == "Aggregator")
