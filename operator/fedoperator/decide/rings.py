"""Policy: what the pods of a site's ring need beside their Job: a name for each pod, and who may reach whom.

They stay as long as the site has a ring, or an old Job of it still works on the round under way.
"""

from collections.abc import Collection, Iterable

from fedapi import names
from fedapi.jsonvalue import JsonView
from fedoperator.decide.context import JobContext
from fedoperator.decide.decision import Key
from fedoperator.decide.view import labels
from fedoperator.desired.ownership import belongs_to_job
from fedoperator.desired.ring_policy import ring_policy
from fedoperator.desired.ring_service import ring_service

_KINDS = ("Service", "NetworkPolicy")


def ring_objects(context: JobContext) -> tuple[JsonView, ...]:
    """The objects of all sites that have a ring."""
    job = context.observed.job
    sites = (site.client for site in context.sites if site.name not in context.lacking_jobset)
    made = (build(job, client) for client in sites for build in (ring_service, ring_policy))
    return tuple(manifest for manifest in made if manifest is not None)


def superfluous(context: JobContext, wanted: Iterable[JsonView], busy: Collection[str]) -> tuple[Key, ...]:
    """Ring objects of sites that left or have no ring any more. `busy`: sites whose old Job still works."""
    kept = {Key(manifest["kind"], manifest["metadata"]["name"]) for manifest in wanted}
    return tuple(
        key
        for key, body in context.observed.children.items()
        if key.kind in _KINDS
        and key not in kept
        and belongs_to_job(body, context.identity.uid)
        and labels(body).get(names.LABEL_CLIENT, "") not in {"", *busy}
        and "deletionTimestamp" not in body["metadata"]
    )
