"""The Job and Deployment controllers: from an object and its pods to pods to make, pods to end, and a status. Pure.

Called by reconcile.py after every decision. As in a cluster, with shorter waits; what Fedloom's manifests do
not use (work queues without indexes, limits per index, rolling updates) is not here.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import count, groupby

from fedapi.jsonvalue import Json
from fedlocal import pods as podlib
from fedlocal.cluster import timestamp

BACKOFF_FIRST_S = 0.25
BACKOFF_LIMIT_S = 10.0


@dataclass(frozen=True)
class Step:
    """What a controller wants now."""

    status: Json
    create: tuple[int | None, ...] = ()  # completion index of each new pod; None: a pod without one
    end: tuple[str, ...] = ()  # names of pods
    again_after: float | None = None  # seconds


def backoff_s(failures: int) -> float:
    """Wait before the next start after so many failures in a row."""
    return min(BACKOFF_LIMIT_S, BACKOFF_FIRST_S * 2 ** max(0, failures - 1)) if failures else 0.0


def job(body: Json, pods: list[Json], now: datetime) -> Step:
    """A batch/v1 Job: with one completion, or Indexed with a pod per index at a time."""
    before: Json = body.get("status") or {}
    conditions = {c["type"]: c for c in before.get("conditions") or ()}
    running = [p for p in pods if not podlib.finished(p)]
    failed = [p for p in pods if p["status"]["phase"] == "Failed"]
    counted = sum(_action(body, p) != "Ignore" for p in failed)
    if body["spec"].get("suspend"):
        conditions["Suspended"] = _condition(conditions, "Suspended", "True", "JobSuspended", "Job suspended", now)
        return Step(_job_status(body, conditions, pods, counted), end=_names(running))
    if "Suspended" in conditions:
        conditions["Suspended"] = _condition(conditions, "Suspended", "False", "JobResumed", "Job resumed", now)
    verdict = _verdict(body, pods, failed, counted)
    ended = any(conditions.get(end) for end in ("Complete", "Failed"))
    if verdict and not ended:
        conditions[verdict[0]] = _condition(conditions, verdict[0], "True", verdict[1], verdict[2], now)
    if verdict or ended:
        return Step(_job_status(body, conditions, pods, counted, now), end=_names(running))
    status = _job_status(body, conditions, pods, counted)
    status.setdefault("startTime", timestamp(now))
    return _next_start(status, _missing(body, pods), failed, now)


def deployment(body: Json, pods: list[Json], now: datetime) -> Step:
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
    return Step(status, create=(None,) if replicas and not pods else (), end=_names(stale))


def _names(pods: list[Json]) -> tuple[str, ...]:
    return tuple(p["metadata"]["name"] for p in pods)


def _condition(old: dict[str, Json], type_: str, value: str, reason: str, message: str, now: datetime) -> Json:
    before = old.get(type_)
    since = before["lastTransitionTime"] if before and before["status"] == value else timestamp(now)
    return {"type": type_, "status": value, "reason": reason, "message": message, "lastTransitionTime": since}


def _indexed(body: Json) -> bool:
    return bool(body["spec"].get("completionMode") == "Indexed")


def _job_status(
    body: Json, conditions: dict[str, Json], pods: list[Json], failed: int, ended: datetime | None = None
) -> Json:
    before: Json = body.get("status") or {}
    live = [p for p in pods if not podlib.finished(p)]
    status = {
        "active": sum(not podlib.deleting(p) for p in live),
        "ready": sum(podlib.ready(p) and not podlib.deleting(p) for p in live),
        "succeeded": len(_succeeded(pods)),
        "failed": failed,
        "terminating": sum(podlib.deleting(p) for p in live),
        "conditions": list(conditions.values()),
    }
    if _indexed(body):
        status["completedIndexes"] = _ranges(_succeeded(pods))
    if "Complete" in conditions and ended:
        status["completionTime"] = before.get("completionTime") or timestamp(ended)
    suspended = conditions.get("Suspended", {}).get("status") == "True"
    if "startTime" in before and not suspended:
        status["startTime"] = before["startTime"]
    return status


def _succeeded(pods: list[Json]) -> set[int | None]:
    """Indexes that are done; {None} of a Job without indexes."""
    return {podlib.index(p) for p in pods if p["status"]["phase"] == "Succeeded"}


def _ranges(indexes: Iterable[int | None]) -> str:
    """As in status.completedIndexes: `0-2,5`."""
    numbers, ascending = sorted(i for i in indexes if i is not None), count()
    runs = [list(run) for _, run in groupby(numbers, lambda number: number - next(ascending))]
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _missing(body: Json, pods: list[Json]) -> tuple[int | None, ...]:
    """Indexes that are not done and have no pod; one that is still ending counts (podReplacementPolicy Failed)."""
    taken = _succeeded(pods) | {podlib.index(p) for p in pods if not podlib.finished(p)}
    wanted = range(body["spec"].get("completions", 1)) if _indexed(body) else (None,)
    return tuple(index for index in wanted if index not in taken)


def _verdict(body: Json, pods: list[Json], failed: list[Json], counted: int) -> tuple[str, str, str] | None:
    """The condition that ends the Job: type, reason, message."""
    for p in failed:
        if _action(body, p) == "FailJob":
            code = podlib.terminated(p).get("exitCode")
            text = f"Container {p['spec']['containers'][0]['name']} for pod {p['metadata']['name']} failed with exit code {code} matching FailJob rule"
            return "Failed", "PodFailurePolicy", text
    if counted > body["spec"].get("backoffLimit", 6):
        return "Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit"
    done = _succeeded(pods)
    if len(done) >= body["spec"].get("completions", 1):
        return "Complete", "CompletionsReached", "Reached expected number of succeeded pods"
    if 0 in done and "successPolicy" in body["spec"]:  # Fedloom's one rule: index 0
        return "Complete", "SuccessPolicy", "Matched rules at index 0"
    return None


def _action(body: Json, pod: Json) -> str:
    """What podFailurePolicy says of a failed pod: the first rule that fits."""
    code = podlib.terminated(pod).get("exitCode")
    held = {c["type"]: c["status"] for c in pod["status"].get("conditions") or ()}
    for entry in (body["spec"].get("podFailurePolicy") or {}).get("rules") or ():
        codes = entry.get("onExitCodes")
        by_code = codes and code not in (None, 0) and (code in codes["values"]) == (codes["operator"] == "In")
        if by_code or any(held.get(c["type"]) == c.get("status", "True") for c in entry.get("onPodConditions") or ()):
            return str(entry["action"])
    return "Count"


def _next_start(status: Json, missing: tuple[int | None, ...], failed: list[Json], now: datetime) -> Step:
    """New pods wait after a failure, whichever index it was of: the wait is the Job's."""
    ends = [podlib.terminated(p)["finishedAt"] for p in failed if podlib.terminated(p)]
    if not missing or not ends:
        return Step(status, create=missing)
    last = max(map(datetime.fromisoformat, ends))
    wait = backoff_s(len(failed)) - (now - last).total_seconds()
    return Step(status, again_after=wait) if wait > 0 else Step(status, create=missing)
