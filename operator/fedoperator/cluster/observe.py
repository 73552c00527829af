"""From the cache to the values that decisions are made of. Reads nothing from the API server.

Called by reconcile.py. Parsed sites are remembered by resourceVersion: a hundred jobs look at the same sites.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from pydantic import ValidationError

from fedapi import names
from fedapi.crd.federatedjob import FederatedJob, FederatedJobSpec
from fedapi.crd.fields import ObjectMeta
from fedapi.crd.flclient import FLClient, FLClientSpec, FLClientStatus
from fedapi.crd.job_status import FederatedJobStatus
from fedapi.crd.task import Task
from fedapi.jsonvalue import Json
from fedoperator.cluster.cache import Cache
from fedoperator.decide import anomalies, participation
from fedoperator.decide.decision import JobCount, Key, Observed, ObservedClient, Refused, Settings
from fedoperator.site_registry import SiteRegistry

T = TypeVar("T")


class Observer:
    """Makes Observed and ObservedClient from the cache."""

    def __init__(
        self, cache: Cache, settings: Settings, *, jobset: bool = False, registry: SiteRegistry | None = None
    ) -> None:
        self._cache = cache
        self._registry = registry
        self._settings = settings
        self._jobset = jobset
        self._sites: dict[str, tuple[str, FLClient | None]] = {}
        self._counted: dict[str, tuple[str, participation.JobCounts]] = {}  # by the uid of a job, at a resourceVersion

    def job(self, body: Json, secrets: frozenset[str], refused: tuple[Refused, ...] = ()) -> Observed:
        """Everything that a decision about this FederatedJob depends on; also what a deleted namesake left."""
        namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
        related = self._cache.labelled(names.LABEL_JOB, namespace, name)
        job, invalid = _parsed(FederatedJob.parse, _unreadable_job, body)
        return Observed(
            job=job,
            clients=self._clients(namespace),
            children={Key(c["kind"], c["metadata"]["name"]): c for c in related if c["kind"] != "Pod"},
            pods=_by_name(c for c in related if c["kind"] == "Pod"),
            secrets=secrets,
            settings=self._settings,
            invalid=invalid,
            jobset=self._jobset,
            refused=refused,
        )

    def client(self, body: Json, refused: tuple[Refused, ...] = ()) -> ObservedClient:
        """Everything that a decision about this FLClient depends on."""
        namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
        related = self._cache.labelled(names.LABEL_CLIENT, namespace, name)
        client, invalid = _parsed(FLClient.parse, _unreadable_client, body)
        return ObservedClient(
            client=client,
            lease=self._cache.get("Lease", namespace, names.site_lease_name(name)),
            pods=_by_name(o for o in related if o["kind"] == "Pod"),
            invalid=invalid,
            refused=refused,
            registered=self._registry.known(namespace, name) if self._registry else None,
            registry_away=self._registry is not None and self._registry.away(),
            jobs=tuple(self._counts(namespace, name)),
            anomalies=tuple(
                each for job in self._cache.every(names.JOB_KIND, namespace) for each in anomalies.told(job, name)
            ),
        )

    def _counts(self, namespace: str, client: str) -> Iterator[JobCount]:
        """What the jobs of a namespace count of a site, by the jobs' names."""
        for body in sorted(self._cache.every(names.JOB_KIND, namespace), key=lambda job: str(job["metadata"]["name"])):
            uid, version = body["metadata"]["uid"], body["metadata"]["resourceVersion"]
            known = self._counted.get(uid)
            if known is None or known[0] != version:
                known = self._counted[uid] = version, participation.counts(body)
            yield known[1].of(client)

    def _clients(self, namespace: str) -> tuple[FLClient, ...]:
        sites = (self._site(body) for body in self._cache.every(names.CLIENT_KIND, namespace))
        return tuple(sorted((s for s in sites if s is not None), key=lambda s: s.metadata.name))

    def _site(self, body: Json) -> FLClient | None:
        uid, version = body["metadata"]["uid"], body["metadata"]["resourceVersion"]
        known = self._sites.get(uid)
        if known is None or known[0] != version:
            try:
                known = version, FLClient.parse(body)
            except ValidationError:
                known = version, None
            self._sites[uid] = known
        return known[1]

    def forget(self, uid: str) -> None:
        """The FLClient, or the job, is gone."""
        self._sites.pop(uid, None)
        self._counted.pop(uid, None)


def _by_name(objects: Iterable[Json]) -> tuple[Json, ...]:
    return tuple(sorted(objects, key=lambda o: str(o["metadata"]["name"])))


def _parsed(parse: Callable[[Any], T], unreadable: Callable[[Json], T], body: Json) -> tuple[T, str]:
    """The parsed object and "", or a stand-in and what is wrong with its spec."""
    try:
        return parse(body), ""
    except ValidationError as error:
        problems = (f"spec.{'.'.join(map(str, e['loc'][1:]))}: {e['msg']}" for e in error.errors())
        return unreadable(body), "; ".join(problems)[:1000]


def _unreadable_job(body: Json) -> FederatedJob:
    spec = FederatedJobSpec.model_construct(task=Task.model_construct(entrypoint="", image=""), rounds=1)
    return FederatedJob.model_construct(
        metadata=ObjectMeta.model_validate(body["metadata"]),
        spec=spec,
        status=FederatedJobStatus.read(body.get("status")),
    )


def _unreadable_client(body: Json) -> FLClient:
    return FLClient.model_construct(
        metadata=ObjectMeta.model_validate(body["metadata"]),
        spec=FLClientSpec.model_construct(provider="OnPremises"),
        status=FLClientStatus.read(body.get("status")),
    )
