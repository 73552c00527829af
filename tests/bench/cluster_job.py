"""A job on the local cluster, from images of this checkout, its records read from the volume's folder on this machine."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fedapi import names
from tests.bench import commit_lag, embedded, records
from tests.bench.kube import Watch, path
from tests.cluster.api import Cluster
from tests.cluster.errors import ClusterError
from tests.e2e.world import World
from tools import deploy

IMAGE = "localhost/fedloom-bench-task:dev"
DOCKERFILE = "ARG BASE_IMAGE=localhost/fedloom-trainer:dev\nFROM ${BASE_IMAGE}\nCOPY *.py /opt/task/\n"


@dataclass(frozen=True)
class Finished:
    """A job that ended, as its records and a watch of it tell."""

    rounds: list[records.Round]
    lags: list[float]  # per round, from its commit until the status showed it


def finished(folder: Path, sites: int, rounds: int) -> Finished:
    """Runs a job of the tiny task to its end."""
    with installed(folder) as (cluster, world):
        return _run(cluster, world, sites, rounds)


@contextmanager
def installed(folder: Path) -> Iterator[tuple[Cluster, World]]:
    """A namespace on the local cluster with Fedloom and the bench's tasks; the cluster ends if it was not up before."""
    was_up = up()
    cluster = deploy.local_cluster()
    try:
        deploy.task_image(cluster, _context(folder), IMAGE)
        deploy.install_chart(cluster.kubeconfig, None)
        with World.create(cluster.kubeconfig, "bench") as world:
            yield cluster, world
    finally:
        if not was_up:
            cluster.down()


def up() -> bool:
    """Whether the local cluster is up already."""
    try:
        return not Cluster.running().api_only
    except ClusterError:
        return False


def _context(folder: Path) -> Path:
    shutil.copytree(embedded.TASKS, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "Dockerfile").write_text(DOCKERFILE)
    return folder


def _run(cluster: Cluster, world: World, sites: int, rounds: int) -> Finished:
    watch = Watch(cluster, path(names.JOB_KIND, world.namespace))
    time.sleep(0.5)
    world.apply(
        [embedded.site(f"site-{n}") for n in range(sites)]
        + [embedded.job("bench", "tiny:task", sites, rounds, image=IMAGE)]
    )
    world.completes("bench", 300)
    uid = world.list("pvc", f"{names.LABEL_JOB}=bench")[0]["metadata"]["uid"]
    store = cluster.dirs.run / "volumes" / f"pvc-{uid}"
    return Finished(records.rounds(store), commit_lag.lags(store, _shown(watch)))


def _shown(watch: Watch) -> dict[int, float]:
    """Round -> when the status first showed it as committed."""
    offset = time.time() - time.monotonic()
    shown: dict[int, float] = {}
    for at, body in watch.events:
        shown.setdefault(body.get("status", {}).get("round", {}).get("committed", 0), at + offset)
    return shown
