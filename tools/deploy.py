"""Brings Fedloom onto a cluster: the local one with fresh images, the chart on any.

Used by demo_cluster.py, the e2e and chaos tests and the benchmarks.
"""

import subprocess
from pathlib import Path

from tests.cluster import images
from tests.cluster.api import Cluster
from tests.cluster.registry import digest as registry_digest
from tests.cluster.tools import binary, client

ROOT = Path(__file__).resolve().parent.parent
SYSTEM_NAMESPACE, RELEASE = "fedloom-system", "fedloom"
PATIENCE_S = 600  # ends a hang: on a busy machine the operator's imports alone take a minute
LOCAL_IMAGES = {
    "operator.image.repository": "localhost/fedloom-operator",
    "aggregator.image.repository": "localhost/fedloom-aggregator",
    "image.tag": "dev",
}


def local_cluster(name: str = "fedloom") -> Cluster:
    """The local cluster with the checkout's images in it."""
    cluster = Cluster.up(name)
    subprocess.run(["make", "--silent", "wheel"], cwd=ROOT, check=True)
    images.build_own(name)
    return cluster


def task_image(cluster: Cluster, folder: Path, tag: str, below: str = "trainer") -> None:
    """Builds a task's image on top of the trainer's, or of `trainer-tpu`, and loads it."""
    images.build_context(cluster.name, folder, tag, below)


def _local_images() -> dict[str, str]:
    """The tag stays the same when the image changes: the digest makes the operator's pods start again."""
    digest = registry_digest(f"{LOCAL_IMAGES['operator.image.repository']}:{LOCAL_IMAGES['image.tag']}")
    return {**LOCAL_IMAGES, "operator.podAnnotations.image": digest or ""}


def forget_pending(kubeconfig: Path) -> None:
    """What a helm that was killed left half done: it would refuse every later one."""
    states = "status in (pending-install,pending-upgrade,pending-rollback)"
    where = (f"--kubeconfig={kubeconfig}", f"--namespace={SYSTEM_NAMESPACE}")
    chosen = f"--selector=owner=helm,name={RELEASE},{states}"
    subprocess.run([binary("kubectl"), *where, "delete", "secret", chosen], check=True, capture_output=True)


def install_chart(kubeconfig: Path, registry: str | None, **values: str) -> None:
    """Helm-installs the chart and waits until the operator is ready. `registry` None: images of the local cluster."""
    chosen = {"image.registry": registry, "image.tag": "dev"} if registry else _local_images()
    helm = client("helm") if registry else binary("helm")
    if not registry:
        forget_pending(kubeconfig)
    settings = [f"--set={key}={value}" for key, value in {**chosen, **values}.items()]
    command = [
        str(helm),
        f"--kubeconfig={kubeconfig}",
        "upgrade",
        "--install",
        RELEASE,
        str(ROOT / "charts/fedloom"),
    ]
    subprocess.run(
        [*command, f"--namespace={SYSTEM_NAMESPACE}", "--create-namespace", "--wait", f"--timeout={PATIENCE_S}s", *settings],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
