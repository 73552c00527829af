"""5,000 sites on the default registry: an API server of the bench's own, the operator's process, a Lease per site.

Shared by the rows about it. The sites are FLClients; heartbeats.py speaks for them. Counted in the API server's audit
log is every write but the bench's own and Kubernetes' own, Leases included.
"""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fedapi import names
from tests.bench import embedded, fleet, operator_process
from tests.bench.kube import AGENT, Kube, path
from tests.bench.process import cpu_s, mib
from tests.cluster.api import Cluster

SITES = int(os.environ.get("FEDLOOM_BENCH_SITES", "5000"))  # smaller to try the case
WINDOW_S = float(os.environ.get("FEDLOOM_BENCH_WINDOW_S", "180"))
BUSY_S = 10  # the busiest so many seconds count
NAMESPACE = "crowd"
_ACTIVE_WITHIN_S = 600.0


@dataclass(frozen=True)
class SiteRegistry:
    """What it cost."""

    writes_per_s: float  # in the busiest ten seconds at rest
    operator_mib: float  # peak


def measured(folder: Path) -> SiteRegistry:
    """From the first site to a window in which nothing changes but their heartbeats."""
    cluster = Cluster.up("bench-registry", api_only=True)
    try:
        kube = Kube.to(cluster)
        fleet.prepare(kube, (NAMESPACE, "fedloom-system"))
        with operator_process.running(cluster.kubeconfig, folder, resync_s=300) as pid:
            return _measured(kube, pid)
    finally:
        cluster.down()


def _measured(kube: Kube, operator: int) -> SiteRegistry:
    began, first = time.monotonic(), kube.cluster.audit_log.stat().st_size
    _make_sites(kube)
    print(f"   {SITES} FLClients made in {time.monotonic() - began:.0f} s")
    with _speaking(kube):
        began = time.monotonic()
        while (active := _active(kube)) < SITES:
            if time.monotonic() - began > _ACTIVE_WITHIN_S:
                raise TimeoutError(f"{active} of {SITES} sites are active")
            time.sleep(2)
        print(f"   all active after {time.monotonic() - began:.0f} s")
        start, cpu = kube.cluster.audit_log.stat().st_size, cpu_s(operator)
        time.sleep(WINDOW_S)
        busy = (cpu_s(operator) - cpu) / WINDOW_S
    rest, whole = _per_second(kube.cluster.audit_log, start), _per_second(kube.cluster.audit_log, first)
    mean = sum(rest.values()) / WINDOW_S
    print(f"   writes a second: {mean:.1f} in the mean, {_busiest(whole):.1f} in the busiest while sites were made")
    print(f"   etcd {_etcd_mib(kube.cluster):.0f} MiB; operator {busy:.0%} of a processor")
    return SiteRegistry(_busiest(rest), mib(operator, "VmHWM"))


def _make_sites(kube: Kube) -> None:
    with ThreadPoolExecutor(4) as threads:
        numbers = range(SITES)
        list(threads.map(lambda n: kube.create(path("FLClient", NAMESPACE), embedded.site(f"site-{n:04d}")), numbers))


def _active(kube: Kube) -> int:
    items = kube.get(path(names.CLIENT_KIND, NAMESPACE))["items"]
    return sum(1 for item in items if item.get("status", {}).get("active"))


@contextmanager
def _speaking(kube: Kube) -> Iterator[None]:
    command = [sys.executable, "-m", "tests.bench.heartbeats", str(kube.cluster.kubeconfig), NAMESPACE, str(SITES)]
    with subprocess.Popen(command) as process:
        try:
            yield
        finally:
            process.terminate()


def _per_second(log: Path, start: int) -> Counter[int]:
    """Writes by second since the log had `start` bytes."""
    found: Counter[int] = Counter()
    with log.open("rb") as file:
        file.seek(start)
        for line in file:
            if line.endswith(b"\n") and not _kubernetes_own(entry := json.loads(line)):
                found[int(datetime.fromisoformat(entry["requestReceivedTimestamp"]).timestamp())] += 1
    return found


def _kubernetes_own(entry: dict) -> bool:
    return entry.get("userAgent", "").startswith(AGENT) or entry["user"]["username"].startswith("system:")


def _busiest(writes: Counter[int]) -> float:
    return max((sum(writes[at + n] for n in range(BUSY_S)) for at in writes), default=0) / BUSY_S


def _etcd_mib(cluster: Cluster) -> float:
    return (cluster.dirs.run / "etcd" / "member" / "snap" / "db").stat().st_size / 2**20
