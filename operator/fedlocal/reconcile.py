"""One pass over the in-memory cluster: observe, the operator's own decisions, apply; then the Job and Deployment controllers.

Called by runner.py whenever something changed. A pass over an unchanged cluster changes nothing.
"""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from fedapi import names
from fedapi.crd.federatedjob import FederatedJob
from fedapi.crd.flclient import FLClient
from fedapi.jsonvalue import Json, JsonView
from fedlocal import configmaps, cron, key_store, pods, workloads
from fedlocal.cluster import Cluster
from fedlocal.seen import Parsed, Seen
from fedlocal.statefolder import StateFolder
from fedoperator.decide import anomalies
from fedoperator.decide.client import decide_client
from fedoperator.decide.decision import Decision, Event, Key, Observed, ObservedClient, Settings
from fedoperator.decide.job import decide
from fedoperator.decide.participation import counts
from fedoperator.decide.view import JobView
from fedoperator.desired.jobs import created
from fedoperator.key_material import Keys

SETTINGS = Settings(aggregator_image="local")


@dataclass
class Reconciler:
    """Of one job."""

    cluster: Cluster
    job: Key
    state: StateFolder
    keys: Keys
    operator_status: Json = field(default_factory=dict)
    aggregator_status: Json = field(default_factory=dict)
    backup_status: Json = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    _seen: Seen = field(default_factory=Seen)
    _parsed: Parsed = field(default_factory=Parsed)

    def run(self) -> float | None:
        """One pass. Seconds after which another is due, if nothing happens before."""
        pods_of = _by_site(self.cluster.of_kind("Pod"))
        due = [self._client(body, pods_of) for body in self.cluster.of_kind(names.CLIENT_KIND)]
        due.append(self._job())
        owned = _by_owner(self.cluster.of_kind("Pod"))
        due += [self._workload(body, owned) for body in self.cluster.of_kind("Job", "Deployment")]
        due += [self._cron_job(body) for body in self.cluster.of_kind("CronJob")]
        return min((seconds for seconds in due if seconds is not None), default=None)

    def publish(self) -> None:
        """Puts all writers' leaves into the job's status."""
        self.cluster.put_status(self.job, self.operator_status | self.aggregator_status | self.backup_status)

    def _job(self) -> float | None:
        decision = decide(self.observed(), self.cluster.now())
        for request in decision.secrets:
            uid, now = self.cluster.objects[self.job]["metadata"]["uid"], self.cluster.now()
            self.cluster.secrets[request.name] = key_store.make(request, self.state, self.keys, uid, now)
            self.cluster.changed()
        self._carry_out(decision)
        if decision.status is not None:
            self.operator_status = dict(decision.status)
            self.publish()
        self.events += decision.events
        return decision.requeue_after

    def _client(self, body: Json, pods_of: Mapping[str, list[Json]]) -> float | None:
        name = body["metadata"]["name"]
        lease, mine = self.cluster.objects.get(Key("Lease", names.site_lease_name(name))), pods_of.get(name, [])
        job = self.cluster.objects[self.job]
        ended = job if job["status"].get("outcome") else None  # what it says of the site is final
        told = (job["status"].get("anomalies") or {}).get("recent")
        return self._seen.unless_same(
            Key(names.CLIENT_KIND, name),
            (body, lease, ended, told, *mine),
            lambda: self._decided(name, body, lease, mine),
        )

    def _decided(self, name: str, body: Json, lease: Json | None, mine: list[Json]) -> float | None:
        count = counts(self.cluster.objects[self.job]).of(name)
        told = tuple(anomalies.told(self.cluster.objects[self.job], name))
        observed = ObservedClient(FLClient.parse(body), lease, tuple(mine), jobs=(count,), anomalies=told)
        decision = decide_client(observed, self.cluster.now())
        self._carry_out(decision)
        if decision.status is not None:
            self.cluster.put_status(Key(names.CLIENT_KIND, name), dict(decision.status))
        return decision.requeue_after

    def observed(self) -> Observed:
        """What decide() is told."""
        children = {
            key: body
            for key, body in self.cluster.objects.items()
            if key.kind not in ("Pod", names.JOB_KIND, names.CLIENT_KIND)
        }
        return Observed(
            FederatedJob.parse(self.cluster.objects[self.job]),
            tuple(map(self._parsed.of, self.cluster.of_kind(names.CLIENT_KIND))),
            children,
            tuple(_labelled(self.cluster.of_kind("Pod"), names.LABEL_JOB, self.job.name)),
            self.cluster.lasting_secrets(),
            SETTINGS,
        )

    def _carry_out(self, decision: Decision) -> None:
        for desired in map(_unqueued, decision.objects):
            self.cluster.apply(dict(desired), first=created(desired))
            if desired["kind"] == "ConfigMap":
                put_config_map(self.state, dict(desired))
        for job, value in decision.suspend.items():
            self.cluster.suspend(job, value)
        for key in decision.delete:
            self.cluster.delete(key)

    def _workload(self, body: Json, owned: Mapping[str, list[Json]]) -> float | None:
        key, mine = Key(body["kind"], body["metadata"]["name"]), owned.get(body["metadata"]["uid"], [])
        return self._seen.unless_same(key, (body, *mine), lambda: self._controlled(key, body, mine))

    def _controlled(self, key: Key, body: Json, mine: list[Json]) -> float | None:
        controller = workloads.job if body["kind"] == "Job" else workloads.deployment
        step = controller(body, mine, self.cluster.now())
        for name in step.end:
            self.cluster.delete(Key("Pod", name))
        for index in step.create:
            self.cluster.apply(pods.pod(body, uuid.uuid4().hex[:5], index))
        self.cluster.put_status(key, step.status)
        return step.again_after

    def _cron_job(self, body: Json) -> float | None:
        """Suspended or not, its history is kept short."""
        key, uid = Key(body["kind"], body["metadata"]["name"]), body["metadata"]["uid"]
        step = cron.step(body, _by_owner(self.cluster.of_kind("Job")).get(uid, []), self.cluster.now())
        for name in step.remove:
            self.cluster.delete(Key("Job", name))
        if step.create is not None:
            self.cluster.apply(step.create)
        self.cluster.put_status(key, step.status)
        return step.again_after


def _unqueued(desired: JsonView) -> JsonView:
    """A Job without its queue: nobody admits Jobs here, so the operator starts and stops it itself."""
    labels = {name: value for name, value in desired["metadata"].get("labels", {}).items() if name != names.LABEL_QUEUE}
    return {**desired, "metadata": {**desired["metadata"], "labels": labels}} if desired["kind"] == "Job" else desired


def backs_up(job: Json) -> bool:
    """Whether a Job makes or verifies a backup and has not ended: a run whose training is over waits for it."""
    view = JobView.of(job)
    return view.role in (names.ROLE_BACKUP, names.ROLE_VERIFY) and not view.finished


def heard(cluster: Cluster, client: str, now: datetime) -> None:
    """Renews a site's Lease: what the aggregator does on a cluster while it hears from the site."""
    key = Key("Lease", names.site_lease_name(client))
    lease = cluster.objects.get(key)
    if lease is None:
        return
    before = lease["spec"].get("renewTime")
    if before and (now - datetime.fromisoformat(before)).total_seconds() < names.SITE_LEASE_RENEW_S:
        return
    renewed = {"holderIdentity": names.AGGREGATOR_MANAGER, "renewTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")}
    cluster.put_spec(key, {**lease["spec"], **renewed})


def put_config_map(state: StateFolder, body: Json) -> None:
    """Writes a ConfigMap where pods mount it, only what differs."""
    configmaps.put(state.config_map(body["metadata"]["name"]), configmaps.content(body))


def _labelled(bodies: Iterable[Json], label: str, value: str) -> list[Json]:
    return [body for body in bodies if body["metadata"]["labels"].get(label) == value]


def _by_site(pods_: Iterable[Json]) -> dict[str, list[Json]]:
    found: dict[str, list[Json]] = {}
    for pod in pods_:
        found.setdefault(pod["metadata"]["labels"].get(names.LABEL_CLIENT, ""), []).append(pod)
    return found


def _by_owner(bodies: Iterable[Json]) -> dict[str, list[Json]]:
    found: dict[str, list[Json]] = {}
    for body in bodies:
        for owner in body["metadata"].get("ownerReferences") or ():
            found.setdefault(owner["uid"], []).append(body)
    return found
