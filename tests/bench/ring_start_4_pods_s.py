"""How long a ring of 4 pods needs to start on the local cluster, images present; median of a few jobs.

From the moment at which the training Job is let go (it is made suspended, before there is an aggregator to train for)
to the end of the first all-reduce of gradients as its first rank saw it: 4 pods, names, a generation, torch and
Horovod imported, the model fetched and broadcast. The peer is the same Indexed Job of bare torch.distributed.
"""

import re
import textwrap
import time
from statistics import median

from fedapi import names
from tests.bench import cluster_job, embedded
from tests.bench.bench import Bench
from tests.bench.kube import Watch, path
from tests.bench.rows import Row
from tests.bench.tasks.first_step import MARK
from tests.cluster.api import Cluster
from tests.e2e.world import World

PODS, JOBS = 4, 3
BARE = """
    import datetime, os, time, torch
    import torch.distributed as dist
    rank = int(os.environ["JOB_COMPLETION_INDEX"])
    store = None
    while store is None:
        try:
            store = dist.TCPStore("bare-0.bare", 29500, 4, rank == 0, timeout=datetime.timedelta(seconds=60))
        except (RuntimeError, OSError):
            time.sleep(0.2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=4)
    dist.all_reduce(torch.ones(9))
    print(f"MARK{time.time():.3f}", flush=True)
"""


def measure(bench: Bench) -> Row:
    """The row."""
    with cluster_job.installed(bench.folder("ring-start")) as (cluster, world):
        started = [_of_fedloom(cluster, world, f"ring-{number}") for number in range(JOBS)]
        bare = [_of_torch(cluster, world) for _ in range(JOBS)]
    print("   starts:", " ".join(f"{value:.1f}" for value in started), "bare:", " ".join(f"{v:.1f}" for v in bare))
    return Row("ring_start_4_pods_s", median(started), "s", median(bare))


def _of_fedloom(cluster: Cluster, world: World, name: str) -> float:
    watch = Watch(cluster, path("Job", world.namespace))
    ring = embedded.site(name)
    ring["metadata"]["labels"] = {"consortium": name}
    ring["spec"]["pool"] = {"workers": PODS}
    job = embedded.job(name, "first_step:task", 1, 1, image=cluster_job.IMAGE)
    job["spec"]["clients"]["selector"] = {"matchLabels": {"consortium": name}}
    world.apply([ring, job])
    world.completes(name, 300)
    (training,) = world.list("jobs", f"{names.LABEL_ROLE}={names.ROLE_TRAINER},{names.LABEL_JOB}={name}")
    running = watch.first(0, training["metadata"]["name"], lambda body: not body["spec"].get("suspend"))
    made = watch.first(0, training["metadata"]["name"], lambda _: True)
    marked = _marked(world, f"{names.LABEL_ROLE}={names.ROLE_TRAINER},{names.LABEL_JOB}={name}")
    print(f"   {name}: {marked - _wall(running):.1f} s, {marked - _wall(made):.1f} s since it was made, suspended")
    return marked - _wall(running)


def _of_torch(cluster: Cluster, world: World) -> float:
    watch = Watch(cluster, path("Job", world.namespace))
    time.sleep(0.5)
    since = len(watch.events)
    world.apply([_service(), _bare_job()])
    made = watch.first(since, "bare", lambda _: True)
    world.wait("the bare ring", lambda: world.get("jobs", "bare")["status"].get("succeeded") == PODS)
    marked = _marked(world, "job-name=bare")
    world.kubectl("delete", "job,service", "bare", "--wait=true")
    return marked - _wall(made)


def _wall(at: float) -> float:
    return at + time.time() - time.monotonic()


def _marked(world: World, selector: str) -> float:
    """The earliest mark in the pods' logs."""
    logs = [world.kubectl("logs", pod["metadata"]["name"]) for pod in world.list("pods", selector)]
    return min(float(found) for log in logs for found in re.findall(rf"{MARK}([\d.]+)", log))


def _service() -> dict[str, object]:
    spec = {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": {"job-name": "bare"}}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "bare"}, "spec": spec}


def _bare_job() -> dict[str, object]:
    code = textwrap.dedent(BARE).replace("MARK", MARK)
    container = {
        "name": "rank",
        "image": cluster_job.IMAGE,
        "imagePullPolicy": "Never",
        "command": ["/opt/fedloom/bin/python", "-c", code],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    pod = {
        "subdomain": "bare",
        "restartPolicy": "Never",
        "containers": [container],
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    }
    spec = {"completions": PODS, "parallelism": PODS, "completionMode": "Indexed", "template": {"spec": pod}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "bare"}, "spec": spec}
