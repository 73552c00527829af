"""A real API server with real controllers, and the operator as a process: what the tests of its shell are made of.

There is no kubelet: tests play it where they must. Used by tests/integration and tests/chaos/fedoperator.
"""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fedapi import names
from fedoperator.cluster.connection import APPLY_PATCH, MERGE_PATCH, Connection
from fedoperator.desired.kinds import BY_KIND, CLIENT, JOB, WATCHED, Kind
from fedoperator.errors import GoneError, OperatorError
from tests import waiting, workers
from tests.cluster.api import Cluster
from tests.ports import free_ports
from tests.waiting import PATIENCE_S

ROOT = Path(__file__).resolve().parents[3]
SYSTEM = "fedloom-system"
# What a job has whose sites train in one pod each, and that is not backed up: no ring, so no policy around it.
CHILDREN = tuple(kind for kind in WATCHED if not kind.ours and kind.kind not in ("Pod", "Lease", "CronJob"))


@pytest.fixture(scope="session")
def api() -> Iterator["Api"]:
    fresh = not workers.served("api")  # one that a run before left behind, which was killed, has its objects
    cluster = Cluster.up("opshell", api_only=True, controllers=True, fresh=fresh)
    with workers.serving("api", cluster.down):
        yield Api.prepared(cluster)


@pytest.fixture
def namespace(api: "Api", request: pytest.FixtureRequest) -> str:
    return api.namespace(request.node.name)


@dataclass
class Api:
    cluster: Cluster
    connection: Connection

    @classmethod
    def prepared(cls, cluster: Cluster) -> "Api":
        """With the custom resources and the operator's namespace."""
        before = os.environ.get("KUBECONFIG")
        os.environ["KUBECONFIG"] = str(cluster.kubeconfig)
        from kubernetes.config import kube_config

        kube_config.KUBE_CONFIG_DEFAULT_LOCATION = str(cluster.kubeconfig)
        made = cls(cluster, replace(Connection.open("/nowhere", connections=4), user_agent="test"))
        if before is not None:
            os.environ["KUBECONFIG"] = before
        cluster.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
        cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=120s")
        for kind in (JOB, CLIENT):
            until(lambda kind=kind: made.listed(kind.kind, "default") is not None)
        made.namespace(SYSTEM, exact=True)
        return made

    def namespace(self, name: str, *, exact: bool = False) -> str:
        slug = "".join(c if c.isalnum() else "-" for c in name.lower())[:40].strip("-")
        name = name if exact else f"{slug}-{os.urandom(6).hex()}"
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        self.connection.request("PATCH", f"/api/v1/namespaces/{name}", body, content_type=APPLY_PATCH, query=MANAGER)
        until(lambda: self.exists(f"/api/v1/namespaces/{name}/serviceaccounts/default"))
        return name

    def exists(self, path: str) -> bool:
        try:
            self.connection.request("GET", path)
        except GoneError:
            return False
        return True

    def get(self, kind: str, namespace: str, name: str, *, missing_ok: bool = False) -> dict:
        try:
            return self.connection.request("GET", BY_KIND[kind].path(namespace, name))
        except GoneError:
            if missing_ok:
                return {}
            raise

    def listed(self, kind: str, namespace: str, selector: str = "") -> list[dict] | None:
        try:
            query = {"labelSelector": selector} if selector else None
            items = self.connection.request("GET", BY_KIND[kind].path(namespace), query=query)["items"]
        except GoneError:
            return None
        known = BY_KIND[kind]
        return [{"apiVersion": known.api_version, "kind": kind} | item for item in items]

    def create(self, body: dict) -> dict:
        return self.connection.request("POST", BY_KIND[body["kind"]].path(body["metadata"]["namespace"]), body)

    def patch(self, kind: str, namespace: str, name: str, body: dict, subresource: str = "") -> dict:
        path = BY_KIND[kind].path(namespace, name, subresource)
        return self.connection.request("PATCH", path, body, content_type=MERGE_PATCH)

    def delete(self, kind: str, namespace: str, name: str) -> None:
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        self.connection.request("DELETE", BY_KIND[kind].path(namespace, name), body)

    def outcome(self, job: dict, **leaves: object) -> None:
        """Writes the aggregator's half of a status, as the aggregator does."""
        metadata = {key: job["metadata"][key] for key in ("name", "namespace", "uid")}
        body = {"apiVersion": names.API_VERSION, "kind": names.JOB_KIND, "metadata": metadata, "status": leaves}
        path = JOB.path(metadata["namespace"], metadata["name"], "status")
        query = {"fieldManager": names.AGGREGATOR_MANAGER, "force": "true"}
        self.connection.request("PATCH", path, body, content_type=APPLY_PATCH, query=query)

    def children(self, namespace: str, job: str) -> dict[tuple[str, str], dict]:
        """Objects of a job, without pods."""
        selector = f"{names.LABEL_JOB}={job}"
        kinds: list[Kind] = [*CHILDREN, BY_KIND["Secret"]]
        found = (o for kind in kinds for o in self.listed(kind.kind, namespace, selector) or ())
        return {(o["kind"], o["metadata"]["name"]): o for o in found}

    def pods_ready(self, namespace: str, role: str) -> bool:
        """Plays the kubelet: the pods of that role run and are ready."""
        pods = self.listed("Pod", namespace, f"{names.LABEL_ROLE}={role}") or []
        for pod in pods:
            ready = [
                {"type": kind, "status": "True"} for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
            ]
            running = {
                "name": role,
                "ready": True,
                "restartCount": 0,
                "image": "i",
                "imageID": "i",
                "state": {"running": {}},
            }
            status = {"phase": "Running", "conditions": ready, "containerStatuses": [running]}
            self.patch("Pod", namespace, pod["metadata"]["name"], {"status": status}, "status")
        return bool(pods)

    def writes(self, namespace: str | None = None, *, leases: bool = False) -> list[dict]:
        """Every write of an operator so far, from the audit log; Leases aside unless asked for."""
        found = []
        for line in whole_lines(self.cluster.audit_log):
            if "fedloom-operator" not in line:  # most are not: tests ask again and again
                continue
            entry = json.loads(line)
            about = entry.get("objectRef", {})
            ours = "fedloom-operator" in entry.get("userAgent", "") and namespace in (None, about.get("namespace"))
            if ours and (leases or about.get("resource") != "leases"):
                found.append(entry)
        return found


def whole_lines(path: Path) -> list[str]:
    """The lines of a log without one that is still being written."""
    return path.read_text().rpartition("\n")[0].splitlines()


def rests(api: Api, process: "OperatorProcess", namespace: str) -> None:
    """Waits until the operator has come to rest about a job; then it has to stay there, without a single write."""

    def written() -> list[tuple[str, dict]]:
        return [(write["verb"], write["objectRef"]) for write in api.writes(namespace)]

    def quiet() -> bool:
        before = written()
        process.looks_again(namespace, 2)
        return written() == before

    until(quiet)
    before = written()
    process.looks_again(namespace, 4)
    assert written()[len(before) :] == []


MANAGER = {"fieldManager": "test", "force": "true"}


def until(fact: Callable[[], object], timeout_s: float = PATIENCE_S) -> object:
    """Waits until the fact holds, and returns it; errors of the API server count as not yet."""
    return waiting.until(fact, timeout_s, not_yet=(OperatorError, KeyError, OSError))


def site(namespace: str, name: str, **spec: object) -> dict:
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.CLIENT_KIND,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"provider": "AWS"} | spec,
    }


def job(namespace: str, name: str = "heart", **spec: object) -> dict:
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.JOB_KIND,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"task": {"entrypoint": "heart:task", "image": "localhost/heart:dev"}, "rounds": 3} | spec,
    }


def consortium(api: Api, namespace: str, *sites: str, **spec: object) -> dict:
    """A job and its sites."""
    for name in sites:
        api.create(site(namespace, name))
    return api.create(job(namespace, **spec))


def expected_kinds(sites: int) -> dict[str, int]:
    """How many children of each kind an accepted job has."""
    single = {kind.kind: 1 for kind in CHILDREN if kind.kind != "Job"}
    return single | {"Job": 1 + sites, "Secret": 2 + sites}


def kinds(children: dict[tuple[str, str], dict]) -> dict[str, int]:
    found: dict[str, int] = {}
    for kind, _ in children:
        found[kind] = found.get(kind, 0) + 1
    return found


def complete(api: Api, namespace: str, sites: int, name: str = "heart") -> dict[tuple[str, str], dict]:
    """Waits until the job has all its children and a status."""

    def all_there() -> dict | None:
        children = api.children(namespace, name)
        phase = api.get("FederatedJob", namespace, name).get("status", {}).get("phase")
        return children if kinds(children) == expected_kinds(sites) and phase else None

    return until(all_there)  # type: ignore[return-value]


def rest(api: Api, namespace: str, running: "OperatorProcess") -> None:
    """Waits until several looks in a row have written nothing."""

    def quiet() -> bool:
        looks, before = running.metric("fedloom_operator_reconcile_total"), len(api.writes(namespace))
        until(lambda: running.metric("fedloom_operator_reconcile_total") >= looks + 8)
        return len(api.writes(namespace)) == before

    until(quiet)


def ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class OperatorProcess:
    """`python -m fedoperator`, its probes and its log."""

    process: subprocess.Popen
    probe: int
    metrics: int
    log: Path
    environment: dict[str, str] = field(default_factory=dict)

    def http(self, path: str, port: int = 0) -> tuple[int, str]:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://127.0.0.1:{port or self.probe}{path}", timeout=PATIENCE_S) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except urllib.error.URLError:
            self.alive()  # whoever asks an operator that has ended would wait for it in vain
            raise

    def metric(self, name: str) -> float:
        """Sum of a metric's samples whose line begins with the name."""
        lines = self.http("/metrics", self.metrics)[1].splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))

    def wait_ready(self) -> "OperatorProcess":
        until(lambda: self.http("/readyz")[0] == 200)
        return self

    def acting(self) -> bool:
        return self.metric("fedloom_operator_is_leader") == 1

    def alive(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"the operator ended with {self.process.returncode}:\n{self.log.read_text()[-4000:]}")
        return True

    def lines(self, word: str = "") -> list[dict]:
        """Of its log, those with this word in them."""
        return [json.loads(line) for line in whole_lines(self.log) if line.startswith("{") and word in line]

    def looks(self, namespace: str, job: str = "heart") -> int:
        """How often the job was looked at to the end."""
        return sum(
            line["message"] == "looked" and line.get("job") == f"{namespace}/{job}" for line in self.lines("looked")
        )

    def looks_again(self, namespace: str, times: int) -> None:
        """Waits until the job was looked at so many times more: resyncs do happen."""
        before = self.looks(namespace)
        until(lambda: self.alive() and self.looks(namespace) >= before + times)

    def end(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


@contextmanager
def operator(api: Api, folder: Path, *, name: str = "op", **settings: object) -> Iterator[OperatorProcess]:
    """Runs the operator as long as the block lasts."""
    probe, metrics = free_ports(2)
    given = {
        "NAMESPACE": SYSTEM,
        "POD_NAME": name,
        "PROBE_PORT": probe,
        "METRICS_PORT": metrics,
        "LEADER_ELECTION": "false",
        "LOG_LEVEL": "DEBUG",
    } | settings
    environment = {key: value for key, value in os.environ.items() if not key.startswith("KUBERNETES_")}
    environment |= {"KUBECONFIG": str(api.cluster.kubeconfig), "PYTHONPATH": f"{ROOT / 'operator'}{os.pathsep}{ROOT}"}
    environment |= {
        key if key.startswith(("KUBE", "CRASH")) else f"FEDLOOM_OPERATOR_{key}": str(value)
        for key, value in given.items()
    }
    log = folder / f"{name}-{probe}.log"
    with log.open("wb") as sink:
        process = subprocess.Popen([sys.executable, "-m", "fedoperator"], env=environment, stdout=sink, stderr=sink)
    running = OperatorProcess(process, probe, metrics, log, environment)
    try:
        yield running
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
