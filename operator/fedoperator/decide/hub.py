"""Policy: the aggregator's Deployment, and what stands around it: account, rights, Service, NetworkPolicy."""

from fedapi.jsonvalue import JsonView
from fedoperator.decide import refused
from fedoperator.decide.context import JobContext
from fedoperator.decide.decision import Key
from fedoperator.decide.facts import instant
from fedoperator.decide.view import dig
from fedoperator.desired import access, aggregator
from fedoperator.desired.aggregator_policy import aggregator_policy
from fedoperator.desired.job_lease import job_lease
from fedoperator.desired.ownership import belongs_to_job
from fedoperator.desired.store_place import identities


def accounts(context: JobContext) -> tuple[JsonView, ...]:
    """The aggregator's ServiceAccount."""
    identity = context.identity
    return (access.service_account(identity, access.aggregator(identity), identities((context.spec.storage.bucket,))),)


def roles(context: JobContext) -> tuple[JsonView, ...]:
    """What it may do: to its own job, and to the heartbeats of its sites."""
    clients = (site.name for site in context.sites if site.has_heartbeat)
    return (access.aggregator_role(context.identity, clients, fenced=bool(leases(context))),)


def leases(context: JobContext) -> tuple[JsonView, ...]:
    """What keeps a second aggregator off a store that cannot do so itself."""
    s3 = context.spec.storage.s3
    fenced = s3 is not None and s3.conditional_writes == "LeaseFenced"
    return (job_lease(context.identity),) if fenced else ()


def role_bindings(context: JobContext) -> tuple[JsonView, ...]:
    """Who may do it."""
    return (access.role_binding(context.identity, access.aggregator(context.identity)),)


def services(context: JobContext) -> tuple[JsonView, ...]:
    """The Service in front of it."""
    return (aggregator.service(context.identity),)


def network_policies(context: JobContext) -> tuple[JsonView, ...]:
    """Who may connect to it."""
    return (aggregator_policy(context.identity),)


def deployments(context: JobContext) -> tuple[JsonView, ...]:
    """The aggregator while the job is under way."""
    stopped = context.spec.suspend or refused.foreign_names(context) or not context.restored
    return (deployment(context, replicas=0 if stopped else 1),)


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
