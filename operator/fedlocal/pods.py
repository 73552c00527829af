"""Pod objects: made from a template, and the status that a kubelet would give them. Pure.

Used by the controllers (workloads.py) and by kubelet.py. The shapes are those of core/v1, as far as the
operator's decisions read them.
"""

import json
from datetime import datetime

from fedapi import names
from fedapi.jsonvalue import Json
from fedlocal.cluster import timestamp

INDEX = "batch.kubernetes.io/job-completion-index"  # label and annotation of pods of an Indexed Job
JOB_NAME = "batch.kubernetes.io/job-name"


def pod(owner: Json, suffix: str, index: int | None = None) -> Json:
    """A pod of a Job or Deployment, from its template; `index`: of an Indexed Job's pod."""
    template = owner["spec"]["template"]
    metadata = template.get("metadata") or {}
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
    }
    labels = dict(metadata.get("labels") or {}) | {"pod-template-hash": template_hash(owner)}
    if owner["kind"] == "Job":
        labels |= {JOB_NAME: owner["metadata"]["name"]}
    numbered = {} if index is None else {INDEX: str(index)}
    parts = [owner["metadata"]["name"], *numbered.values(), suffix]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "-".join(parts),
            "labels": labels | numbered,
            "annotations": dict(metadata.get("annotations") or {}) | numbered,
            "ownerReferences": [reference],
        },
        "spec": template["spec"] if index is None else _numbered(template["spec"]),
        "status": {"phase": "Pending", "conditions": [], "containerStatuses": []},
    }


def _numbered(spec: Json) -> Json:
    """The pod's spec with the variable that the Job controller gives the containers of an Indexed Job."""
    field = {"fieldRef": {"fieldPath": f"metadata.labels['{INDEX}']"}}
    entry = {"name": names.ENV_COMPLETION_INDEX, "valueFrom": field}
    return spec | {"containers": [c | {"env": [*(c.get("env") or ()), entry]} for c in spec["containers"]]}


def index(pod_: Json) -> int | None:
    """Completion index of an Indexed Job's pod."""
    text = (pod_["metadata"].get("labels") or {}).get(INDEX)
    return None if text is None else int(text)


def template_hash(owner: Json) -> str:
    """Tells the pods of one template from those of the next."""
    return names.digest8(json.dumps(owner["spec"]["template"], sort_keys=True))


def owned(pods: list[Json], owner: Json) -> list[Json]:
    """The pods of an owner."""
    uid = owner["metadata"]["uid"]
    return [p for p in pods if any(ref.get("uid") == uid for ref in p["metadata"].get("ownerReferences") or ())]


def finished(pod_: Json) -> bool:
    """Whether it will never run again."""
    return pod_["status"].get("phase") in ("Succeeded", "Failed")


def deleting(pod_: Json) -> bool:
    """Whether it is marked for deletion."""
    return "deletionTimestamp" in pod_["metadata"]


def ready(pod_: Json) -> bool:
    """Its Ready condition."""
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod_["status"].get("conditions") or ())


def stages(pod_: Json) -> list[list[Json]]:
    """The pod with each of its containers alone: one after the other, and in the end those that run side by side."""
    spec = pod_["spec"]

    def alone(container: Json) -> Json:
        return pod_ | {"spec": spec | {"containers": [container]}}

    return [*([alone(c)] for c in spec.get("initContainers", ())), [alone(c) for c in spec["containers"]]]


def terminated(pod_: Json) -> Json:
    """How its container ended last; empty while it never did."""
    for status in pod_["status"].get("containerStatuses") or ():
        found: Json = (
            (status.get("state") or {}).get("terminated") or (status.get("lastState") or {}).get("terminated") or {}
        )
        return found
    return {}


def ended(exit_code: int, message: str, started: datetime, now: datetime) -> Json:
    """A terminated container's state."""
    return {
        "terminated": {
            "exitCode": exit_code,
            "reason": "Completed" if exit_code == 0 else "Error",
            "message": message,
            "startedAt": timestamp(started),
            "finishedAt": timestamp(now),
        }
    }


def status(
    pod_: Json,
    phase: str,
    state: Json,
    now: datetime,
    *,
    is_ready: bool = False,
    restarts: int = 0,
    last: Json | None = None,
) -> Json:
    """The next status of a pod with one container; transition times are kept where nothing changed."""
    before = pod_["status"]
    container = {
        "name": pod_["spec"]["containers"][0]["name"],
        "ready": is_ready,
        "started": "running" in state,
        "restartCount": restarts,
        "state": state,
        "lastState": last or {},
    }
    wanted = {"PodScheduled": True, "Initialized": True, "ContainersReady": is_ready, "Ready": is_ready}
    old = {c["type"]: c for c in before.get("conditions") or ()}
    conditions = [_condition(type_, holds, old.get(type_), now) for type_, holds in wanted.items()]
    started = before.get("startTime") or timestamp(now)
    return {"phase": phase, "startTime": started, "conditions": conditions, "containerStatuses": [container]}


def _condition(type_: str, holds: bool, old: Json | None, now: datetime) -> Json:
    value = "True" if holds else "False"
    since = old["lastTransitionTime"] if old and old["status"] == value else timestamp(now)
    return {"type": type_, "status": value, "lastTransitionTime": since}
