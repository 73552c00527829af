"""Plays what a kubelet, the controllers and an aggregator would write on an API server that has none of them.

Jobs come to run with all their pods, and end; used by the operator's cases on the jobs of fleet.py. Every write has
the form that Kubernetes' own components give it (the API server validates it).
"""

import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import Any

from fedapi import names
from fedapi.jsonvalue import Json
from tests.bench.fleet import NAMESPACE, SITES, Fleet
from tests.bench.kube import path

SHA = "0" * 64


def stamp(after_s: float = 0.0) -> str:
    """RFC 3339, to the second."""
    return (datetime.now(UTC) + timedelta(seconds=after_s)).strftime("%Y-%m-%dT%H:%M:%SZ")


def owned(fleet: Fleet, kind: str, jobs: Collection[str], role: str = "") -> list[Json]:
    """Children of one kind of these jobs."""
    wanted = set(jobs)
    found = []
    for body in fleet.kube.get(path(kind, NAMESPACE))["items"]:
        labels = body["metadata"].get("labels", {})
        if labels.get(names.LABEL_JOB) in wanted and role in ("", labels[names.LABEL_ROLE]):
            found.append(body | {"kind": kind})
    return found


def run(fleet: Fleet, jobs: Collection[str]) -> None:
    """From applied to between two rounds: initialized, aggregator ready, training pods running."""
    for body in owned(fleet, "Job", jobs, names.ROLE_INIT):
        job_ended(fleet, body, "Complete", succeeded=1)
    for body in owned(fleet, "Deployment", jobs):
        pod(fleet, body, body["spec"]["template"], body["metadata"]["name"])
        aggregator_ready(fleet, body, ready=True)
    for body in _started(fleet, jobs):
        labels = {"batch.kubernetes.io/job-name": body["metadata"]["name"]}
        pod(fleet, body, body["spec"]["template"], body["metadata"]["name"], labels)
        uncounted: Json = {}
        status(fleet, body, startTime=stamp(), active=1, ready=1, uncountedTerminatedPods=uncounted)
    for job in jobs:
        fleet.kube.outcome(fleet.jobs.latest[job], **between_rounds(3))
    _settled(lambda: all(phase(fleet, job) == "Running" for job in jobs), "the jobs to run")


def finish(fleet: Fleet, jobs: Collection[str]) -> None:
    """From running to over: outcome, sites done, aggregator scaled to zero by the operator, its pod gone."""
    for job in jobs:
        ended = {"result": "Succeeded", "reason": "RoundsDone", "message": "20 rounds", "time": stamp()}
        fleet.kube.outcome(fleet.jobs.latest[job], outcome=ended, **between_rounds(20))
    for body in owned(fleet, "Pod", jobs, names.ROLE_TRAINER):
        status(fleet, body, phase="Succeeded")
    for body in owned(fleet, "Job", jobs, names.ROLE_TRAINER):
        job_ended(fleet, body, "Complete", succeeded=1)
    _settled(lambda: not any(d["spec"]["replicas"] for d in owned(fleet, "Deployment", jobs)), "aggregators to stop")
    for body in owned(fleet, "Pod", jobs, names.ROLE_AGGREGATOR):
        fleet.kube.delete(f"{path('Pod', NAMESPACE, body['metadata']['name'])}?gracePeriodSeconds=0")
    for body in owned(fleet, "Deployment", jobs):
        aggregator_ready(fleet, body, ready=False)


def between_rounds(committed: int) -> Json:
    """The aggregator's leaves of a job's status after a commit."""
    sites = [f"site-{number}" for number in range(SITES)]
    return {
        "round": {
            "current": committed, "total": 20, "attempt": 1, "startTime": stamp(), "deadline": stamp(7200),
            "selected": sites, "accepted": SITES, "committed": committed, "progress": f"{committed}/20",
        },
        "participants": f"{SITES}/{SITES}",
        "clients": [{"name": s, "state": "Accepted", "lastRound": committed, "samples": 64, "rounds": committed} for s in sites],
        "model": {"uri": "volume://store/model", "sha256": SHA, "round": committed},
    }  # fmt: skip


def status(fleet: Fleet, body: Json, **leaves: Any) -> None:
    """Merges leaves into an object's status."""
    fleet.kube.patch(path(body["kind"], NAMESPACE, body["metadata"]["name"], "status"), {"status": leaves})


def aggregator_ready(fleet: Fleet, deployment: Json, *, ready: bool) -> None:
    """What the Deployment controller says of one replica."""
    count, now = int(ready), stamp()
    available = {
        "type": "Available",
        "status": str(ready),
        "reason": "MinimumReplicas",
        "lastUpdateTime": now,
        "lastTransitionTime": now,
    }
    replicas = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), count)
    generation = deployment["metadata"]["generation"]
    status(fleet, deployment, observedGeneration=generation, conditions=[available], **replicas)


def job_ended(fleet: Fleet, body: Json, result: str, message: str = "", **counts: int) -> None:
    """What the Job controller says at the end; `result` is Complete or Failed."""
    before = {"Complete": "SuccessCriteriaMet", "Failed": "FailureTarget"}[result]
    now = stamp()
    conditions = [
        {
            "type": type_,
            "status": "True",
            "reason": "Played",
            "message": message,
            "lastProbeTime": now,
            "lastTransitionTime": now,
        }
        for type_ in (before, result)
    ]
    times = {"startTime": body.get("status", {}).get("startTime", now)} | (
        {"completionTime": now} if result == "Complete" else {}
    )
    status(fleet, body, conditions=conditions, active=None, ready=None, uncountedTerminatedPods={}, **times, **counts)


def pod(fleet: Fleet, owner: Json, template: Json, name: str, labels: Json | None = None) -> None:
    """A pod that runs and is ready."""
    metadata = {"name": f"{name}-x7k2p", "labels": template["metadata"]["labels"] | (labels or {})}
    made = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"] | {"nodeName": "played"}}
    fleet.kube.create(path("Pod", NAMESPACE), made)
    now, image = stamp(), template["spec"]["containers"][0]
    ready = [
        {"type": t, "status": "True", "lastTransitionTime": now}
        for t in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    ]
    container = {
        "name": image["name"], "image": image["image"], "imageID": "", "ready": True, "restartCount": 0,
        "started": True, "state": {"running": {"startedAt": now}},
    }  # fmt: skip
    status(fleet, made, phase="Running", startTime=now, conditions=ready, containerStatuses=[container])


def _started(fleet: Fleet, jobs: Collection[str]) -> list[Json]:
    """The training Jobs, once the operator has let all of them go."""
    found: list[Json] = []

    def all_go() -> bool:
        found[:] = owned(fleet, "Job", jobs, names.ROLE_TRAINER)
        return not any(body["spec"].get("suspend") for body in found)

    _settled(all_go, "training Jobs to start")
    return found


def phase(fleet: Fleet, job: str) -> str:
    """What the job's status shows."""
    return fleet.jobs.latest[job].get("status", {}).get("phase", "")


def _settled(fact: Callable[[], bool], what: str, timeout_s: float = 120.0) -> None:
    until = time.monotonic() + timeout_s
    while not fact():
        if time.monotonic() > until:
            raise TimeoutError(f"waited {timeout_s:.0f} s for {what}")
        time.sleep(0.25)
