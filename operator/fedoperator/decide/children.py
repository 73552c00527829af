"""Policy: which objects a job has. Builds them with fedoperator.desired; applied only where they differ.

A child that still carries the uid of a deleted job of the same name is deleted first and made afterwards.
"""

from collections.abc import Iterable

from fedapi.jsonvalue import JsonView
from fedapi.wire.job import RosterEntry
from fedoperator.decide import early, refused
from fedoperator.decide.context import JobContext
from fedoperator.decide.decision import Key, SecretRequest
from fedoperator.decide.facts import instant
from fedoperator.decide.failures import rest, site_failure
from fedoperator.decide.reasons import Reason
from fedoperator.decide.sites import Site
from fedoperator.decide.store import claims
from fedoperator.decide.view import dig
from fedoperator.desired import access, aggregator, config
from fedoperator.desired.aggregator_policy import aggregator_policy
from fedoperator.desired.ownership import Standing, belongs_to_job, standing
from fedoperator.desired.secret_requests import secret_requests


def _entry(context: JobContext, site: Site) -> RosterEntry:
    """A site in the aggregator's roster. One that cannot run, for good or until it has rested, is not waited for."""
    reason = _missed(context, site) or site.barred or _out_of_order(context, site.name)
    return RosterEntry(name=site.name, eligible=not reason, reason=reason)


def _missed(context: JobContext, site: Site) -> str:
    """Whether a site was barred before its Job of the step had started: the aggregator does not wait for it."""
    job = context.job_of(site.name)
    late = context.by_round and site.barred and site.name in context.step.sites and (job is None or job.suspended)
    return Reason.NOT_STARTED if late else ""


def _out_of_order(context: JobContext, client: str) -> str:
    """Why a site's Job does not run: it cannot be made, it failed for good, or it used up its failures."""
    if client in context.lacking_jobset:
        return Reason.JOBSET_MISSING
    failure, job = site_failure(context, client) or early.training(context, client), context.job_of(client)
    if failure:
        return failure.reason
    return Reason.TOO_MANY_FAILURES if job and rest(context, job) else ""


def roster(context: JobContext) -> tuple[RosterEntry, ...]:
    """The job's sites as the aggregator is told of them."""
    return tuple(_entry(context, site) for site in context.sites)


def deployment(context: JobContext, replicas: int) -> JsonView:
    """The aggregator's Deployment."""
    settings = context.observed.settings
    image, pull = settings.aggregator_image, settings.image_pull_policy
    made = aggregator.deployment(context.observed.job, image, pull, settings.cluster_domain, replicas, settings.keys_id)
    return aggregator.for_account(made, _remade_account(context))


def _remade_account(context: JobContext) -> str:
    """The uid of the aggregator's account where that is younger than the Deployment: its pod's token is void."""
    account = context.observed.children.get(Key("ServiceAccount", context.identity.aggregator))
    made, since = (
        dig(account, "metadata", "creationTimestamp"),
        dig(context.deployment, "metadata", "creationTimestamp"),
    )
    ours = account is not None and belongs_to_job(account, context.identity.uid)
    return str(dig(account, "metadata", "uid")) if ours and made and since and instant(made) > instant(since) else ""


def fixed(context: JobContext) -> tuple[JsonView, ...]:
    """Every child but the training Jobs, in the order in which they are needed."""
    identity, job = context.identity, context.observed.job
    objects: tuple[JsonView, ...] = (
        access.service_account(identity),
        access.role(identity, (site.name for site in context.sites if site.has_heartbeat)),
        access.role_binding(identity),
        config.config_map(job, roster(context)),
        *claims(context),
        aggregator.service(identity),
        aggregator_policy(identity),
        deployment(context, replicas=0 if context.spec.suspend or refused.foreign_names(context) else 1),
    )
    return (*objects, context.wanted_init) if _init_wanted(context) else objects


def _init_wanted(context: JobContext) -> bool:
    name = context.wanted_init["metadata"]["name"]
    if context.initialized or any(job.name != name or job.deleting for job in context.init_jobs):
        return False
    return bool(context.init_jobs) or not context.spec.suspend


def stale_init(context: JobContext) -> tuple[Key, ...]:
    """Init Jobs whose template is no longer the wanted one, while the initial model is still missing."""
    name = context.wanted_init["metadata"]["name"]
    stale = (job for job in context.init_jobs if job.name != name and not job.deleting)
    return () if context.initialized else tuple(Key("Job", job.name) for job in stale)


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
    requests = secret_requests(context.identity, clients, context.observed.settings.cluster_domain)
    return tuple(request for request in requests if request.name not in context.observed.secrets)
