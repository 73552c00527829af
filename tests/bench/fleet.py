"""An API server of the bench's own (no kubelet, no controllers), the operator's process, and 100 jobs of 4 sites.

Shared by the operator's cases. Applies the jobs once and keeps when each was acknowledged and when each of its
children was first seen. What a kubelet and the controllers would do is played by actors.py.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from fedapi import names
from fedapi.jsonvalue import Json
from tests.bench import embedded, operator_process
from tests.bench.kube import Kube, Watch, path
from tests.bench.process import cpu_s
from tests.cluster.api import Cluster

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = "bench"
FIRST, JOBS, SITES = "bench", 100, 4
LATE, LATE_JOBS, LATE_EVERY_S = "late", 20, 0.5
ONCE = (
    "Deployment", "Service", "ServiceAccount", "Role", "RoleBinding", "ConfigMap", "PersistentVolumeClaim", "NetworkPolicy",
)  # fmt: skip
PER_JOB = {**dict.fromkeys(ONCE, 1), "Secret": 1 + SITES, "Job": 1 + SITES}  # how many children of each kind a job has


@dataclass
class Fleet:
    """What is there and when it came."""

    kube: Kube
    operator_pid: int
    jobs: Watch
    clients: Watch
    children: dict[str, Watch]
    acknowledged: dict[str, float] = field(default_factory=dict)  # job -> when its creation was answered

    @classmethod
    @contextmanager
    def applied(cls, folder: Path) -> Iterator["Fleet"]:
        """The API server, the operator and 100 jobs with all their children."""
        cluster = Cluster.up("bench", api_only=True)
        try:
            kube = Kube.to(cluster)
            prepare(kube, (NAMESPACE, "fedloom-system"))
            for number in range(SITES):
                kube.create(path(names.CLIENT_KIND, NAMESPACE), embedded.site(f"site-{number}"))
            with operator_process.running(cluster.kubeconfig, folder) as pid:
                yield cls._watching(kube, pid)
        finally:
            cluster.down()

    @classmethod
    def _watching(cls, kube: Kube, pid: int) -> "Fleet":
        children = {kind: Watch(kube.cluster, path(kind, NAMESPACE), metadata_only=True) for kind in PER_JOB}
        fleet = cls(
            kube,
            pid,
            Watch(kube.cluster, path(names.JOB_KIND, NAMESPACE)),
            Watch(kube.cluster, path(names.CLIENT_KIND, NAMESPACE)),
            children,
        )
        time.sleep(1)  # for the watches to be there
        pids = {"operator": pid, **{name: _pid(kube.cluster, name) for name in ("apiserver", "etcd")}}
        before = {name: cpu_s(pid) for name, pid in pids.items()}
        fleet.apply(FIRST, JOBS)
        print("   CPU:", ", ".join(f"{name} {cpu_s(pid) - before[name]:.1f} s" for name, pid in pids.items()))
        return fleet

    def apply(self, stem: str, count: int, every_s: float = 0.0) -> list[str]:
        """Applies jobs one after another, at once or each `every_s`, and waits until all their children are there."""
        applied: list[str] = []
        started = time.monotonic()
        for number in range(count):
            time.sleep(max(0.0, started + number * every_s - time.monotonic()))
            body = embedded.job(f"{stem}-{number:03d}", "tiny:task", SITES, 20, image="localhost/fedloom-tiny:dev")
            applied.append(body["metadata"]["name"])
            self.kube.create(path(names.JOB_KIND, NAMESPACE), body)
            self.acknowledged[applied[-1]] = time.monotonic()
        for kind, per_job in PER_JOB.items():
            self.children[kind].until(lambda seen, n=per_job: len(_ours(seen)) >= n * len(self.acknowledged), 120)
        return applied

    def waits(self, stem: str) -> list[float]:
        """Seconds from the acknowledgement of each of these jobs until the last of its children was first seen."""
        done: dict[str, float] = {}
        for watch in self.children.values():
            for body in _ours(watch.latest):
                job = body["metadata"]["labels"][names.LABEL_JOB]
                done[job] = max(done.get(job, 0.0), watch.first_seen[body["metadata"]["name"]])
        return [done[job] - at for job, at in self.acknowledged.items() if job.startswith(stem)]


def _pid(cluster: Cluster, name: str) -> int:
    return int((cluster.dirs.pids / name).read_text().split()[0])


def _ours(seen: dict[str, Json]) -> list[Json]:
    return [body for body in seen.values() if body["metadata"].get("labels", {}).get(names.LABEL_JOB)]


def prepare(kube: Kube, namespaces: tuple[str, ...]) -> None:
    """CRDs and namespaces."""
    for file in sorted((ROOT / "crds").glob("*.yaml")):
        body = yaml.safe_load(file.read_text())
        where = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{body['metadata']['name']}"
        kube.apply(where, body)
        while not _established(kube.get(where)):
            time.sleep(0.1)
    for kind in (names.JOB_KIND, names.CLIENT_KIND):  # established, and yet the first answers may be 404
        until = time.monotonic() + 30
        while not kube.serves(path(kind, namespaces[0])) and time.monotonic() < until:
            time.sleep(0.1)
    for name in namespaces:
        kube.apply(f"/api/v1/namespaces/{name}", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


def _established(crd: Json) -> bool:
    return any(c["type"] == "Established" and c["status"] == "True" for c in crd["status"].get("conditions") or ())
