"""A namespace of a real cluster as tests see it: apply, look, wait, kill. Every wait ends with what was there."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3
import yaml
from kubernetes.client.configuration import Configuration
from kubernetes.client.rest import RESTClientObject
from kubernetes.config.kube_config import load_kube_config

from fedapi.wire.commit import CommitRecord
from tests.cluster.addresses import HOST_IP
from tests.cluster.shell import downloaded, run
from tests.cluster.tools import binary
from tests.ports import free_port

# Looking is done over one connection: a kubectl process per look costs more than what is looked at.
PATHS = {
    "fj": "apis/fedloom.dev/v1alpha1/{}/federatedjobs",
    "flc": "apis/fedloom.dev/v1alpha1/{}/flclients",
    "jobs": "apis/batch/v1/{}/jobs",
    "deployments": "apis/apps/v1/{}/deployments",
    "leases": "apis/coordination.k8s.io/v1/{}/leases",
    "roles": "apis/rbac.authorization.k8s.io/v1/{}/roles",
    "rolebindings": "apis/rbac.authorization.k8s.io/v1/{}/rolebindings",
    "pods": "api/v1/{}/pods",
    "pvc": "api/v1/{}/persistentvolumeclaims",
    "services": "api/v1/{}/services",
    "secrets": "api/v1/{}/secrets",
    "serviceaccounts": "api/v1/{}/serviceaccounts",
    "configmaps": "api/v1/{}/configmaps",
}
CHILDREN = (
    "jobs",
    "deployments",
    "services",
    "pods",
    "secrets",
    "serviceaccounts",
    "roles",
    "rolebindings",
    "configmaps",
)

PATIENCE_S = 600  # ends a hang; nothing on a cluster takes a tenth of it

RESTRICTED = {
    "pod-security.kubernetes.io/enforce": "restricted",
    "pod-security.kubernetes.io/enforce-version": "latest",
}


@dataclass(frozen=True)
class World:
    kubeconfig: Path
    namespace: str
    server: str
    pool: urllib3.PoolManager

    @classmethod
    @contextmanager
    def create(cls, kubeconfig: Path, name: str) -> Iterator["World"]:
        slug = re.sub(r"[^a-z0-9]+", "-", name.lower())[:40].strip("-")
        configuration = Configuration()
        load_kube_config(str(kubeconfig), client_configuration=configuration)
        pool = RESTClientObject(configuration).pool_manager
        world = cls(kubeconfig, f"{slug}-{os.urandom(3).hex()}", configuration.host, pool)
        namespace = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": world.namespace, "labels": RESTRICTED},
        }
        world.apply([namespace])
        try:
            yield world
        finally:
            world.kubectl(
                "delete", "namespace", world.namespace, "--wait=false", "--ignore-not-found", namespaced=False
            )
            pool.clear()

    @staticmethod
    def as_yaml(documents: Sequence[dict[str, Any]]) -> str:
        return yaml.safe_dump_all(documents)

    @staticmethod
    def read_result(path: Path) -> dict[str, Any]:
        return json.loads(path.read_text())

    def kubectl(self, *words: str, stdin: str | None = None, namespaced: bool = True, check: bool = True) -> str:
        command = [str(binary("kubectl")), f"--kubeconfig={self.kubeconfig}"]
        command += [f"--namespace={self.namespace}"] if namespaced else []
        done = subprocess.run([*command, *words], input=stdin, capture_output=True, text=True, check=False)
        if check and done.returncode:
            raise AssertionError(f"kubectl {' '.join(words)}: {done.stderr}")
        return done.stdout or done.stderr

    def apply(self, documents: list[dict[str, Any]]) -> None:
        namespaced = documents[0]["kind"] != "Namespace"
        self.kubectl(
            "apply",
            "--server-side",
            "--force-conflicts",
            "-f",
            "-",
            stdin=self.as_yaml(documents),
            namespaced=namespaced,
        )

    def _read(self, kind: str, rest: str = "", selector: str = "") -> dict[str, Any]:
        url = f"{self.server}/{PATHS[kind].format(f'namespaces/{self.namespace}')}{rest}"
        answer = self.pool.request("GET", url, fields={"labelSelector": selector} if selector else None)
        body = answer.json()
        assert answer.status == 200, f"GET {url}: {body.get('message')}"
        return body

    def get(self, kind: str, name: str) -> dict[str, Any]:
        return self._read(kind, f"/{name}")

    def list(self, kind: str, selector: str = "") -> list[dict[str, Any]]:
        return self._read(kind, selector=selector)["items"]

    def status(self, job: str) -> dict[str, Any]:
        return self.get("fj", job).get("status", {})

    def condition(self, job: str, type_: str) -> dict[str, Any]:
        return next((c for c in self.status(job).get("conditions", ()) if c["type"] == type_), {})

    def wait(self, what: str, fact: Callable[[], Any], timeout_s: float = PATIENCE_S, every_s: float = 0.3) -> Any:
        """The first truthy answer of `fact`; past the time, an error that shows the namespace."""
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            if seen := fact():
                return seen
            time.sleep(every_s)
        raise AssertionError(f"waited {timeout_s} s for {what}\n{self.picture()}")

    def picture(self) -> str:
        shown = self.kubectl("get", "fj,flc,deploy,jobs,pods,pvc", "-o", "wide", check=False)
        described = self.kubectl("get", "fj", "-o", "yaml", check=False)
        logs = [
            f"--- {pod['metadata']['name']}\n" + self.kubectl("logs", pod["metadata"]["name"], "--tail=15", check=False)
            for pod in self.list("pods")
        ]
        return "\n".join([shown, described, *logs])

    def completes(self, job: str, timeout_s: float = PATIENCE_S) -> dict[str, Any]:
        """Waits for the end and returns the status; a job that fails is an error that shows it."""
        self.wait(f"{job} to end", lambda: self.ended(job), timeout_s)
        status = self.status(job)
        assert self.condition(job, "Complete").get("status") == "True", self.picture()
        return status

    def ended(self, job: str) -> bool:
        conditions = self.status(job).get("conditions", ())
        return any(c["status"] == "True" for c in conditions if c["type"] in ("Complete", "Failed"))

    def in_round(self, job: str, number: int) -> bool:
        return self.status(job).get("round", {}).get("current", 0) >= number

    def kill(self, module: str, job_uid: str, client: str = "", worker: int | None = None) -> int:
        """kill -9 of the process of a pod, found by its environment; of a ring's worker the rank. Returns its pid."""
        wanted = {f"FEDLOOM_JOB_UID={job_uid}"} | ({f"FEDLOOM_CLIENT={client}"} if client else set())
        wanted |= set() if worker is None else {f"JOB_COMPLETION_INDEX={worker}", f"FEDLOOM_SLOT_WORKER={worker}"}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
                environment = set((folder / "environ").read_text(errors="replace").split("\0"))
                if module.encode() in words and wanted <= environment:
                    os.kill(int(folder.name), signal.SIGKILL)
                    return int(folder.name)
            except OSError:  # it ended meanwhile
                continue
        raise AssertionError(f"no process of {module} for {client or 'the job'}\n{self.picture()}")

    def pods(self, client: str) -> Sequence[dict[str, Any]]:
        """The site's training pods."""
        return self.list("pods", f"fedloom.dev/role=trainer,fedloom.dev/client={client}")

    def generations(self, client: str) -> Sequence[str]:
        """What the site's launchers logged: `generation 1: workers 0, 1`."""
        logs = [self.kubectl("logs", pod["metadata"]["name"], check=False) for pod in self.pods(client)]
        return re.findall(r"generation \d+: workers [\d, ]+\d", "\n".join(logs))


def prepare(program: Path, *words: str | Path) -> None:
    """An example's prepare.py, which downloads its data."""
    downloaded(lambda: run(sys.executable, program, *words))


@contextmanager
def held() -> Iterator[dict[str, str]]:
    """Arguments for `job`: its sites do not end their second training before this is left, however slow a test is."""
    with socket.create_server((HOST_IP, free_port()), backlog=1024) as listening:
        yield {"hold": "{}:{}".format(*listening.getsockname())}


def commits(store: Path) -> list[CommitRecord]:
    """Commit records below the folder of a store's volume, by round: one per round, the initial model's first."""
    found = [CommitRecord.model_validate_json(path.read_bytes()) for path in store.rglob("rounds/*/e*-a*/commit.json")]
    assert len({record.round for record in found}) == len(found)
    return sorted(found, key=lambda record: record.round)


def site(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "fedloom.dev/v1alpha1",
        "kind": "FLClient",
        "metadata": {"name": name, "labels": {"consortium": "test"}},
        "spec": {"provider": "OnPremises", **spec},
    }


TWO_SITES = (site("north"), site("south", provider="AWS", region="eu-central-1"))


def job(
    name: str = "paced", *, seconds: str = "0", rounds: int = 3, args: dict[str, str] | None = None, **spec: Any
) -> dict[str, Any]:
    return {
        "apiVersion": "fedloom.dev/v1alpha1",
        "kind": "FederatedJob",
        "metadata": {"name": name},
        "spec": {
            "task": {
                "entrypoint": "paced:task",
                "image": "localhost/fedloom-paced:dev",
                "imagePullPolicy": "Never",
                "args": {"seconds": seconds, **(args or {})},
            },
            "rounds": rounds,
            "seed": 7,
            "clients": {"selector": {"matchLabels": {"consortium": "test"}}, "minAvailable": 2},
            "round": {"deadline": "10m", "quorum": "100%"},
            "storage": {"volume": {"size": "1Gi"}},
            **spec,
        },
    }
