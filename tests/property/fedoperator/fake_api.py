"""An API server in memory, as far as decisions can see it: create, apply, patch of suspend, delete, status.

Jobs with a queue's label are admitted by nobody here: only tests flip their suspend.

It adds defaults, writes quantities in its own way, drops empty values and records owned fields, as the real one
does. A budget of writes makes the operator die between any two of them.
"""

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from fedapi import names
from fedapi.crd.federatedjob import FederatedJob
from fedapi.crd.flclient import FLClient
from fedapi.jsonvalue import Json, JsonView
from fedoperator.decide.client import decide_client
from fedoperator.decide.decision import Decision, Key, Observed, ObservedClient, Settings
from fedoperator.decide.job import decide
from fedoperator.decide.view import JobView
from fedoperator.desired.difference import differs
from fedoperator.desired.jobs import created
from fedoperator.desired.kinds import JOB_KINDS

_KEYED = {"containers": "name", "env": "name", "volumes": "name", "volumeMounts": "mountPath", "ownerReferences": "uid"}


class KilledError(Exception):
    """The operator died before this write."""


def _owned(value: Any, key: str = "") -> Json:
    """fieldsV1 of an applied value."""
    if isinstance(value, Mapping):
        return {f"f:{k}": _owned(v, k) for k, v in value.items()}
    if isinstance(value, list) and key in _KEYED:
        by = _KEYED[key]
        return {f"k:{json.dumps({by: item[by]})}": {".": {}} | _owned(item) for item in value}
    return {}


def _as_server_writes(value: Any, key: str = "") -> Any:
    if isinstance(value, Mapping):
        kept = {k: _as_server_writes(v, k) for k, v in value.items()}
        return {k: v for k, v in kept.items() if v not in ([], "", None) and not (v == {} and k != "emptyDir")}
    if isinstance(value, list):
        extra = {"terminationMessagePath": "/dev/termination-log"} if key == "containers" else {}
        return [extra | _as_server_writes(item) if isinstance(item, dict) else item for item in value]
    return {"1000m": "1", "1024Mi": "1Gi"}.get(value, value) if isinstance(value, str) else value


@dataclass
class FakeApi:
    """One job, its sites and its children."""

    job: FederatedJob
    clients: dict[str, FLClient]
    settings: Settings
    now: datetime
    children: dict[Key, Json] = field(default_factory=dict)
    pods: list[Json] = field(default_factory=list)
    secrets: set[str] = field(default_factory=set)
    leases: dict[str, Json] = field(default_factory=dict)
    ready: bool = True
    jobset: bool = False
    made: list[str] = field(default_factory=list)  # Jobs, in the order in which they were created
    writes: int = 0
    deleted: int = 0
    budget: int = 10**9

    def _write(self) -> None:
        if self.budget <= 0:
            raise KilledError
        self.budget -= 1
        self.writes += 1

    def operator_pass(self) -> int:
        """Observe, decide, apply, for the sites and the job; the number of writes."""
        before = self.writes
        for name, client in list(self.clients.items()):
            lease = self.leases.get(name)
            pods = tuple(p for p in self.pods if p["metadata"]["labels"].get(names.LABEL_CLIENT) == name)
            self._carry_out_client(name, decide_client(ObservedClient(client, lease, pods), self.now))
        self._carry_out(decide(self.observed(), self.now))
        self._controllers()
        return self.writes - before

    def observed(self) -> Observed:
        clients = tuple(self.clients.values())
        secrets = frozenset(self.secrets)
        children, pods = copy.deepcopy(self.children), tuple(self.pods)
        return Observed(self.job, clients, children, pods, secrets, self.settings, jobset=self.jobset)

    def _carry_out_client(self, name: str, decision: Decision) -> None:
        for manifest in decision.objects:
            if differs(manifest, self.leases.get(name)):
                self._write()
                self.leases[name] = self._stored(manifest)
        if decision.status is not None:
            self._write()
            body = self.clients[name].model_dump(by_alias=True, exclude_none=True)
            self.clients[name] = FLClient.parse(body | {"status": dict(decision.status)})

    def _carry_out(self, decision: Decision) -> None:
        for request in decision.secrets:
            self._write()
            self.secrets.add(request.name)
        for manifest in decision.objects:
            self._apply(dict(manifest))
        for name, flag in decision.suspend.items():
            (live,) = (body for key, body in self.children.items() if key.kind in JOB_KINDS and key.name == name)
            assert live["spec"].get("suspend", False) != flag, "a flip that flips nothing"
            assert names.LABEL_QUEUE not in live["metadata"]["labels"], "a queue's Job is the queue's"
            self._write()
            live["spec"]["suspend"] = flag
        for key in decision.delete:
            assert key.kind != "PersistentVolumeClaim", "a volume is never deleted"
            self._write()
            self.deleted += 1
            del self.children[key]
        if decision.status is not None:
            self._write()
            body = self.job.model_dump(by_alias=True, exclude_none=True)
            self.job = FederatedJob.parse(body | {"status": body["status"] | dict(decision.status)})

    def _apply(self, manifest: Json) -> None:
        key = Key(manifest["kind"], manifest["metadata"]["name"])
        assert "suspend" not in manifest["spec"] if "spec" in manifest else True
        live = self.children.get(key)
        if live is None and key.kind in JOB_KINDS:
            self._write()
            self.made.append(key.name)
            self.children[key] = self._stored(created(manifest), operation="Update")
        elif differs(manifest, live):
            self._write()
            suspend = (live or {}).get("spec", {}).get("suspend")
            stored = self._stored(manifest) | {"status": (live or {}).get("status", {})}
            if suspend is not None:
                stored["spec"]["suspend"] = suspend
            self.children[key] = stored

    def _stored(self, manifest: JsonView, operation: str = "Apply") -> Json:
        body: Json = _as_server_writes(copy.deepcopy(dict(manifest)))
        owned = _owned({k: v for k, v in manifest.items() if k not in ("apiVersion", "kind")})
        entry = {"manager": names.OPERATOR_MANAGER, "operation": operation, "fieldsV1": owned}
        body["metadata"] |= {"uid": "u", "resourceVersion": "1", "managedFields": [entry]}
        if "spec" in body:
            body["spec"] = {"defaulted": True} | body["spec"]
        return body

    def _controllers(self) -> None:
        """What Kubernetes does meanwhile: readiness, and the garbage collector removes pods of deleted Jobs."""
        for key, body in self.children.items():
            if key.kind == "Deployment":
                body["status"] = {"readyReplicas": int(self.ready and body["spec"]["replicas"] > 0)}
        self.pods = [pod for pod in self.pods if not self._without_job(pod)]

    def left_over(self) -> bool:
        """Whether a Job is gone and its pod is not, yet."""
        return any(map(self._without_job, self.pods))

    def _without_job(self, pod: Json) -> bool:
        owner = _job(pod)
        return bool(owner) and owner not in {key.name for key in self.children if key.kind in JOB_KINDS}

    def doubled(self) -> set[str]:
        """Sites with more than one Job that may run pods; those that have ended never will."""
        live = [
            body["metadata"]["labels"][names.LABEL_CLIENT]
            for key, body in self.children.items()
            if key.kind in JOB_KINDS
            and names.LABEL_CLIENT in body["metadata"]["labels"]
            and not body["spec"].get("suspend")
            and not JobView.of(body).finished
        ]
        return {client for client in live if live.count(client) > 1}


def _job(pod: Json) -> str:
    owners = pod["metadata"].get("ownerReferences") or []
    return owners[0]["name"] if owners else ""
