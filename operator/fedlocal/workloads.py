"""The Job and Deployment controllers: from an object and its pods to pods to make, pods to end, and a status. Pure.

Called by reconcile.py after every decision. As in a cluster, with shorter waits; what Fedloom's manifests do
not use (parallelism over 1, indexes, rolling updates) is not here.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fedlocal import pods as podlib
from fedlocal.cluster import timestamp

Body = dict[str, Any]
BACKOFF_FIRST_S = 0.25
BACKOFF_LIMIT_S = 10.0


@dataclass(frozen=True)
class Step:
    """What a controller wants now."""

    status: Body
    create: bool = False
    end: tuple[str, ...] = ()  # names of pods
    again_after: float | None = None  # seconds


def backoff_s(failures: int) -> float:
    """Wait before the next start after so many failures in a row."""
    return min(BACKOFF_LIMIT_S, BACKOFF_FIRST_S * 2 ** max(0, failures - 1)) if failures else 0.0


def job(body: Body, pods: list[Body], now: datetime) -> Step:
    """A batch/v1 Job with one completion."""
    before: Body = body.get("status") or {}
    conditions = {c["type"]: c for c in before.get("conditions") or ()}
    running = [p for p in pods if not podlib.finished(p)]
    failed = [p for p in pods if p["status"]["phase"] == "Failed"]
    counted = sum(_action(body, p) != "Ignore" for p in failed)
    if body["spec"].get("suspend"):
        conditions["Suspended"] = _condition(conditions, "Suspended", "True", "JobSuspended", "Job suspended", now)
        return Step(_job_status(before, conditions, pods, running, counted), end=_names(running))
    if "Suspended" in conditions:
        conditions["Suspended"] = _condition(conditions, "Suspended", "False", "JobResumed", "Job resumed", now)
    verdict = _verdict(body, pods, failed, counted)
    if verdict and verdict[0] not in conditions:
        conditions[verdict[0]] = _condition(conditions, verdict[0], "True", verdict[1], verdict[2], now)
    if any(conditions.get(end) for end in ("Complete", "Failed")):
        return Step(_job_status(before, conditions, pods, running, counted, now), end=_names(running))
    status = _job_status(before, conditions, pods, running, counted)
    status.setdefault("startTime", timestamp(now))
    if running:
        return Step(status)
    return _next_start(status, failed, now)


def deployment(body: Body, pods: list[Body], now: datetime) -> Step:
    """An apps/v1 Deployment with zero or one replica and strategy Recreate."""
    replicas = body["spec"].get("replicas", 1)
    version = podlib.template_hash(body)
    current = [p for p in pods if p["metadata"]["labels"]["pod-template-hash"] == version] if replicas else []
    stale = [p for p in pods if p not in current or podlib.finished(p)]
    live = [p for p in pods if p not in stale]
    ready = sum(podlib.ready(p) and not podlib.deleting(p) for p in live)
    conditions = {c["type"]: c for c in (body.get("status") or {}).get("conditions") or ()}
    available = ready >= replicas
    reason = "MinimumReplicasAvailable" if available else "MinimumReplicasUnavailable"
    conditions["Available"] = _condition(conditions, "Available", str(available), reason, "", now)
    status = {
        "observedGeneration": body["metadata"]["generation"],
        "replicas": len(live),
        "updatedReplicas": len(live),
        "readyReplicas": ready,
        "availableReplicas": ready,
        "conditions": list(conditions.values()),
    }
    return Step(status, create=bool(replicas) and not pods, end=_names(stale))


def _names(pods: list[Body]) -> tuple[str, ...]:
    return tuple(p["metadata"]["name"] for p in pods)


def _condition(old: dict[str, Body], type_: str, value: str, reason: str, message: str, now: datetime) -> Body:
    before = old.get(type_)
    since = before["lastTransitionTime"] if before and before["status"] == value else timestamp(now)
    return {"type": type_, "status": value, "reason": reason, "message": message, "lastTransitionTime": since}


def _job_status(
    before: Body,
    conditions: dict[str, Body],
    pods: list[Body],
    running: list[Body],
    failed: int,
    ended: datetime | None = None,
) -> Body:
    status = {
        "active": len(running),
        "ready": sum(podlib.ready(p) for p in running),
        "succeeded": sum(p["status"]["phase"] == "Succeeded" for p in pods),
        "failed": failed,
        "terminating": sum(podlib.deleting(p) for p in running),
        "conditions": list(conditions.values()),
    }
    if "Complete" in conditions and ended:
        status["completionTime"] = before.get("completionTime") or timestamp(ended)
    if "startTime" in before and not any(
        c["type"] == "Suspended" and c["status"] == "True" for c in status["conditions"]
    ):
        status["startTime"] = before["startTime"]
    return status


def _verdict(body: Body, pods: list[Body], failed: list[Body], counted: int) -> tuple[str, str, str] | None:
    """The condition that ends the Job: type, reason, message."""
    if any(p["status"]["phase"] == "Succeeded" for p in pods):
        return "Complete", "CompletionsReached", "Reached expected number of succeeded pods"
    for p in failed:
        if _action(body, p) == "FailJob":
            code = podlib.terminated(p).get("exitCode")
            text = f"Container {p['spec']['containers'][0]['name']} for pod {p['metadata']['name']} failed with exit code {code} matching FailJob rule"
            return "Failed", "PodFailurePolicy", text
    if counted > body["spec"].get("backoffLimit", 6):
        return "Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit"
    return None


def _action(body: Body, pod: Body) -> str:
    """What podFailurePolicy says of a failed pod."""
    code = podlib.terminated(pod).get("exitCode")
    for entry in (body["spec"].get("podFailurePolicy") or {}).get("rules") or ():
        codes = entry.get("onExitCodes")
        if codes and code not in (None, 0) and (code in codes["values"]) == (codes["operator"] == "In"):
            return str(entry["action"])
    return "Count"


def _next_start(status: Body, failed: list[Body], now: datetime) -> Step:
    if not failed:
        return Step(status, create=True)
    last = max(datetime.fromisoformat(podlib.terminated(p)["finishedAt"]) for p in failed if podlib.terminated(p))
    wait = backoff_s(len(failed)) - (now - last).total_seconds()
    return Step(status, again_after=wait) if wait > 0 else Step(status, create=True)
