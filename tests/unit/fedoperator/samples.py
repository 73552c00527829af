"""Sample jobs, sites and live objects, as the API would return them. Used by the tests of the operator's pure half."""

import copy
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from fedapi import names
from fedapi.crd.federatedjob import FederatedJob
from fedapi.crd.flclient import FLClient
from fedapi.jsonvalue import Json, JsonView
from fedapi.wire.roster import MAX_SITES
from fedoperator.decide.context import JobContext
from fedoperator.decide.decision import Decision, Key, Observed, Settings
from fedoperator.decide.facts import stamp
from fedoperator.decide.job import decide
from fedoperator.desired.jobs import created
from fedoperator.desired.kinds import JOB_KINDS

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
UID = "11111111-2222-3333-4444-555555555555"
SETTINGS = Settings(aggregator_image="registry.example/fedloom-aggregator:0.1.0")


def ago(seconds: float) -> str:
    return stamp(NOW - timedelta(seconds=seconds))


def ahead(seconds: float) -> str:
    return ago(-seconds)


def job(status: Json | None = None, meta: Json | None = None, **spec: Any) -> FederatedJob:
    body = {
        "metadata": {"name": "heart", "namespace": "research", "uid": UID, "generation": 1} | (meta or {}),
        "spec": {
            "task": {"entrypoint": "heart.task:make", "image": "registry.example/heart:1", "args": {"features": 13}},
            "rounds": 20,
            "seed": 7,
        }
        | spec,
        "status": status or {},
    }
    return FederatedJob.parse(body)


def site(name: str, labels: Mapping[str, str] | None = None, status: Json | None = None, **spec: Any) -> FLClient:
    meta = {"name": name, "namespace": "research", "uid": f"uid-{name}", "generation": 1, "labels": dict(labels or {})}
    return FLClient.parse({"metadata": meta, "spec": {"provider": "OnPremises"} | spec, "status": status or {}})


LONG = [
    f"s{number:06d}-".ljust(63, "x") for number in range(MAX_SITES)
]  # as many names as a job can have, as long as they may be
TWO_SITES = (site("berlin"), site("lyon"))


def not_ready(generation: int = 1) -> Json:
    seen = {"observedGeneration": generation, "lastTransitionTime": ago(1)}
    return {"type": "Ready", "status": "False", "reason": "R"} | seen


def observe(
    the_job: FederatedJob | None = None,
    clients: tuple[FLClient, ...] = TWO_SITES,
    children: Mapping[Key, Json] | None = None,
    pods: tuple[Json, ...] = (),
    **more: Any,
) -> Observed:
    return Observed(
        job=the_job or job(),
        clients=clients,
        children=children or {},
        pods=pods,
        secrets=more.pop("secrets", frozenset()),
        settings=more.pop("settings", SETTINGS),
        **more,
    )


def key(manifest: JsonView) -> Key:
    return Key(manifest["kind"], manifest["metadata"]["name"])


def live_children(observed: Observed, *, ready: bool = True, suspended: bool = False) -> dict[Key, Json]:
    """All children of a job as they are once everything was applied, with the gate open or closed."""
    context = JobContext.of(observed, NOW)
    objects = [*decide(observed, NOW).objects, *context.wanted.values()]
    children = {key(o): created(copy.deepcopy(dict(o))) for o in objects}
    for child in children.values():
        if child["kind"] in JOB_KINDS:
            is_init = child["metadata"]["labels"][names.LABEL_ROLE] == names.ROLE_INIT
            child["spec"]["suspend"] = not ready if is_init else suspended
        if child["kind"] == "Deployment":
            child["status"] = {"readyReplicas": 1 if ready else 0}
    return children


def job_name(observed: Observed, client: str) -> str:
    name: str = JobContext.of(observed, NOW).wanted[client]["metadata"]["name"]
    return name


def failed(child: Json, message: str = "") -> None:
    """Marks a live Job as failed for good."""
    child["status"] = {"conditions": [{"type": "Failed", "status": "True", "message": message}]}


def complete(child: Json) -> None:
    child["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}


def pod(
    role: str,
    job_: str = "",
    client: str = "",
    *,
    name: str = "pod-1",
    created_s_ago: float = 600,
    phase: str = "Running",
    container: Json | None = None,
    conditions: tuple[Json, ...] = (),
    meta: Json | None = None,
    volumes: tuple[Json, ...] = (),
    worker: int | None = None,
) -> Json:
    labels = {names.LABEL_JOB: "heart", names.LABEL_JOB_UID: UID, names.LABEL_ROLE: role}
    labels |= {names.LABEL_COMPLETION_INDEX: str(worker)} if worker is not None else {}
    return {
        "metadata": {
            "name": name,
            "labels": labels | ({names.LABEL_CLIENT: client} if client else {}),
            "creationTimestamp": ago(created_s_ago),
            "ownerReferences": [{"kind": "Job", "name": job_, "uid": "x"}] if job_ else [],
        }
        | (meta or {}),
        "spec": {"volumes": list(volumes)},
        "status": {"phase": phase, "containerStatuses": [container or {}], "conditions": list(conditions)},
    }


def running(role: str, job_: str = "", client: str = "", **more: Any) -> Json:
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": ago(500)}
    return pod(role, job_, client, container={"state": {"running": {}}}, conditions=(ready,), **more)


def ended(role: str, job_: str, client: str, code: int, message: str = "", *, at: float = 60, **more: Any) -> Json:
    reason = more.pop("reason", "Completed" if code == 0 else "Error")
    state = {"exitCode": code, "reason": reason, "message": message, "finishedAt": ago(at)}
    phase = "Succeeded" if code == 0 else "Failed"
    return pod(role, job_, client, phase=phase, container={"state": {"terminated": state}}, **more)


def waiting(role: str, job_: str, client: str, reason: str, message: str = "", **more: Any) -> Json:
    age = more.get("created_s_ago", 600)
    placed = {"type": "PodScheduled", "status": "True", "lastTransitionTime": ago(more.pop("placed_s_ago", age))}
    state = {"state": {"waiting": {"reason": reason, "message": message}}}
    return pod(role, job_, client, phase="Pending", container=state, conditions=(placed,), **more)


def unplaced(role: str, job_: str, client: str, message: str, **more: Any) -> Json:
    placed = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return pod(role, job_, client, phase="Pending", conditions=(placed,), **more)


def condition(decision: Decision, type_: str) -> tuple[str, str, str]:
    """(status, reason, message) of a decided condition."""
    assert decision.status is not None
    found = next(c for c in decision.status["conditions"] if c["type"] == type_)
    return found["status"], found["reason"], found.get("message", "")


def site_reasons(decision: Decision) -> dict[str, str]:
    assert decision.status is not None
    return {entry["name"]: entry["reason"] for entry in decision.status["sites"]}


def site_messages(decision: Decision) -> dict[str, str]:
    assert decision.status is not None
    return {entry["name"]: entry["message"] for entry in decision.status["sites"]}


def roster(decision: Decision) -> dict[str, tuple[bool, str]]:
    """What the aggregator is told of each site: whether it takes part, and why not."""
    text = next(o for o in decision.objects if o["kind"] == "ConfigMap")["data"][names.CONFIG_FILE]
    return {name: (why is None, why or "") for name, why in json.loads(text)["roster"].items()}


def init_name() -> str:
    """Name of the init Job."""
    return next(o["metadata"]["name"] for o in decide(observe(), NOW).objects if "init" in o["metadata"]["name"])


STARTED: Json = {"startTime": "2026-11-22T11:00:00Z"}
MODEL: Json = {"uri": "volume://x/y", "sha256": "0" * 64, "round": 0}


def planned(step: str, *selected: str, **clients: str) -> Json:
    """Status of a job with lifetime Round at a step of its plan, as in "3-1" or "20-evaluate"; "" while none is."""
    round_, _, part = step.partition("-")
    train = part not in ("", "evaluate")
    plan = {
        "current": int(round_ or 0), "total": 20, "attempt": int(part) if train else 1, "deadline": ahead(3300),
        "selected": list(selected),
    }  # fmt: skip
    plan |= {"step": "Train" if train else "Evaluate"} if step else {}
    plan |= {"startTime": ago(300)} if train else {}
    told = [{"name": name, "state": state} for name, state in clients.items()]
    return STARTED | {"model": MODEL, "round": plan, "clients": told}


def in_round(**clients: str) -> Json:
    """Status of a job in round 3, with the state of each site."""
    return STARTED | {
        "model": MODEL | {"round": 2},
        "round": {
            "current": 3, "total": 20, "attempt": 1, "startTime": ago(300), "deadline": ahead(3300),
            "selected": list(clients), "committed": 2,
        },
        "clients": [{"name": name, "state": state} for name, state in clients.items()],
    }  # fmt: skip


def outcome(result: str = "Succeeded", seconds_ago: float = 10, **more: object) -> Json:
    """Status of a job whose aggregator has told the outcome."""
    told = {"result": result, "reason": "RoundsDone", "message": "20 of 20 rounds", "time": ago(seconds_ago)}
    return in_round() | {"outcome": told} | more
