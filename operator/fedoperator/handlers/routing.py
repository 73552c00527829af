"""Which keys an event concerns. Pure but for a look into the cache for the jobs of a namespace."""

from collections.abc import Iterator

from fedapi import names
from fedapi.jsonvalue import Json
from fedoperator.cluster.cache import Cache
from fedoperator.decide import anomalies, participation
from fedoperator.desired.ownership import owner_of
from fedoperator.queueing import WorkKey

_OF_SITES = ("Pod", "Lease")  # kinds that a decision about an FLClient looks at


def keys_of(body: Json, cache: Cache) -> Iterator[WorkKey]:
    """The FederatedJobs and FLClients to look at because of this object."""
    kind, metadata = body["kind"], body["metadata"]
    namespace, labels = metadata.get("namespace", ""), metadata.get("labels") or {}
    if kind in (names.JOB_KIND, names.CLIENT_KIND):
        yield WorkKey(namespace, kind, metadata["name"])
    if kind == names.CLIENT_KIND:
        for job in cache.every(names.JOB_KIND, namespace):
            yield WorkKey(namespace, names.JOB_KIND, job["metadata"]["name"])
        return
    if kind == names.JOB_KIND and (body.get("status") or {}).get("outcome"):  # what it says of its sites is final
        yield from (WorkKey(namespace, names.CLIENT_KIND, client) for client in participation.counts(body).by_site)
    if kind == names.JOB_KIND:
        yield from (WorkKey(namespace, names.CLIENT_KIND, client) for client in anomalies.sites(body))
    owner = owner_of(body)
    jobs, clients = {labels.get(names.LABEL_JOB)}, {labels.get(names.LABEL_CLIENT)} if kind in _OF_SITES else set()
    if owner:  # its labels may have been taken off by hand
        (jobs if owner.kind == names.JOB_KIND else clients).add(owner.name)
    yield from (WorkKey(namespace, names.JOB_KIND, name) for name in sorted(filter(None, jobs)))
    yield from (WorkKey(namespace, names.CLIENT_KIND, name) for name in sorted(filter(None, clients)))
