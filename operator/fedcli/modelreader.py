"""Fetches a committed model out of a job's store volume, also when its aggregator is long scaled to zero.

A pod that only reads the claim lives for the length of the copy; the file comes through the API server. Called by `fedloom model pull`.
"""

import hashlib
import secrets
from pathlib import Path
from typing import Any

from fedapi import names
from fedcli.cluster import Cluster
from fedcli.errors import ClusterError, CommandError

Body = dict[str, Any]
LIFETIME_S = 1800
START_TIMEOUT_S = 300.0
_URI = "volume://"
_WAIT = f"import time; time.sleep({LIFETIME_S})"
_PRINT = "import shutil, sys; shutil.copyfileobj(open(sys.argv[1], 'rb'), sys.stdout.buffer)"


def pull_model(cluster: Cluster, job: str, target: Path) -> str:
    """Writes the job's model to `target` and returns its SHA-256."""
    model = (cluster.job(job).get("status") or {}).get("model")
    if not model:
        raise CommandError(
            f"FederatedJob {cluster.namespace}/{job} has no committed model yet: see kubectl describe fj {job}"
        )
    claim, _, key = model["uri"].removeprefix(_URI).partition("/")
    image = cluster.deployment(names.aggregator_name(job))["spec"]["template"]["spec"]
    pod = cluster.create_pod(reader_pod(job, claim, image))
    try:
        _wait_until_running(cluster, pod)
        return _copy(cluster, pod, f"{names.PATH_STORE}/{key}", model["sha256"], target)
    finally:
        cluster.delete_pod(pod)


def reader_pod(job: str, claim: str, aggregator: Body) -> Body:
    """The pod: the aggregator's image and placement, the claim read-only, nothing else."""
    container = aggregator["containers"][0]
    kept = ("nodeSelector", "tolerations", "imagePullSecrets", "priorityClassName")
    user = {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "fsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    security = aggregator.get("securityContext") or user
    labels = {names.LABEL_MANAGED_BY: names.MANAGED_BY, names.LABEL_ROLE: names.ROLE_READER}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"{names.digest8(job)}-model-reader-{secrets.token_hex(3)}", "labels": labels},
        "spec": {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": LIFETIME_S,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {**security, "fsGroupChangePolicy": "OnRootMismatch"},
            "containers": [
                {
                    "name": "reader",
                    "image": container["image"],
                    "imagePullPolicy": container.get("imagePullPolicy", "IfNotPresent"),
                    "command": ["python", "-c", _WAIT],
                    "volumeMounts": [{"name": "store", "mountPath": names.PATH_STORE, "readOnly": True}],
                    "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}},
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
            "volumes": [{"name": "store", "persistentVolumeClaim": {"claimName": claim, "readOnly": True}}],
            **{name: aggregator[name] for name in kept if aggregator.get(name)},
        },
    }


def _wait_until_running(cluster: Cluster, pod: str) -> None:
    settled = cluster.wait_for_pod(pod, lambda body: body["status"].get("phase") != "Pending", START_TIMEOUT_S)
    if settled["status"].get("phase") != "Running":
        raise ClusterError(f"Pod {cluster.namespace}/{pod} does not run: {_trouble(settled)}")


def _trouble(pod: Body) -> str:
    waiting = [(s.get("state") or {}).get("waiting") or {} for s in pod["status"].get("containerStatuses") or ()]
    conditions = [c for c in pod["status"].get("conditions") or () if c["status"] != "True" and c.get("message")]
    texts = [f"{entry.get('reason')}: {entry.get('message', '')}" for entry in [*waiting, *conditions] if entry]
    return "; ".join(texts) or str(pod["status"].get("phase"))


def _copy(cluster: Cluster, pod: str, source: str, sha256: str, target: Path) -> str:
    """Piece by piece, so that memory does not grow with the model."""
    temporary, digest = target.with_name(f".{target.name}.partial"), hashlib.sha256()
    try:
        with temporary.open("wb") as file:
            for piece in cluster.output(pod, ["python", "-c", _PRINT, source]):
                file.write(piece)
                digest.update(piece)
        if digest.hexdigest() != sha256:
            raise CommandError(f"{source}: SHA-256 is {digest.hexdigest()}, but status.model says {sha256}: pull again")
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return sha256
