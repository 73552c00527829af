"""Policy: what the pods of a site's ring need beside their Job: a name for each pod, and who may reach whom.

They stay as long as the site has a ring, or an old Job of it still works on the round under way.
"""

from collections.abc import Callable

from fedapi import names
from fedapi.crd.federatedjob import FederatedJob
from fedapi.crd.flclient import FLClient
from fedapi.jsonvalue import JsonView
from fedoperator.decide import replacement
from fedoperator.decide.context import JobContext
from fedoperator.decide.view import labels
from fedoperator.desired.ring_policy import ring_policy
from fedoperator.desired.ring_service import ring_service


def services(context: JobContext) -> tuple[JsonView, ...]:
    """The Services of all sites that have a ring."""
    return _of_rings(context, ring_service)


def network_policies(context: JobContext) -> tuple[JsonView, ...]:
    """The NetworkPolicies of all sites that have a ring."""
    return _of_rings(context, ring_policy)


def _of_rings(context: JobContext, build: Callable[[FederatedJob, FLClient], JsonView | None]) -> tuple[JsonView, ...]:
    sites = (site.client for site in context.sites if site.name not in context.lacking_jobset)
    made = (build(context.observed.job, client) for client in sites)
    return tuple(manifest for manifest in made if manifest is not None)


def kept(context: JobContext, live: JsonView) -> bool:
    """Whether the object of a site without a ring stays: an old Job of the site still works."""
    client = labels(live).get(names.LABEL_CLIENT, "")
    return not client or replacement.busy(context, client)
