"""Fetches a committed model out of a job's store volume, also when its aggregator is long scaled to zero.

A pod that only reads the claim lives for the length of the copy; the file comes through the API server. Called by
`fedloom model pull`: by the job's status, or where the job is deleted by the volume's own records. `fedloom store repair`
uses such a pod too, one that may write.
"""

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fedapi import names
from fedapi.jsonvalue import Json
from fedapi.wire.message import DamagedRecordError, ObjectRef
from fedapi.wire.store import CommitRecord, Head, Layout
from fedcli.cluster import Cluster
from fedcli.errors import ClusterError, CommandError
from fedoperator.desired.pod import Mount, PodParts, template

LIFETIME_S = 1800
START_TIMEOUT_S = 300.0
_URI = "volume://"
_WAIT = f"import time; time.sleep({LIFETIME_S})"
_PRINT = "import shutil, sys; shutil.copyfileobj(open(sys.argv[1], 'rb'), sys.stdout.buffer)"
_LIST = "import glob, sys; print('\\n'.join(glob.glob(sys.argv[1])))"
_HEADS = f"{names.PATH_STORE}/{Layout('*', '*', '*').head}"  # a volume belongs to one job
_PLACEMENT = ("nodeSelector", "tolerations", "imagePullSecrets", "priorityClassName")
_RESOURCES: Json = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}}


@dataclass(frozen=True)
class Place:
    """Where a reader pod may run, and from which image: any with a `python` in it."""

    image: str
    pull_policy: str = "IfNotPresent"
    aggregator: Json = field(default_factory=dict)  # spec of its pods, for node selection
    beside: Json = field(default_factory=dict)  # labels of pods that may hold the volume on their node


def pull_model(cluster: Cluster, job: str, target: Path) -> str:
    """Writes the model that the job's status names to `target` and returns its SHA-256."""
    model = (cluster.job(job).get("status") or {}).get("model")
    if not model:
        raise CommandError(
            f"FederatedJob {cluster.namespace}/{job} has no committed model yet: see kubectl describe fj {job}"
        )
    claim, _, key = model["uri"].removeprefix(_URI).partition("/")
    with _reader(cluster, reader_pod(claim, _place(cluster, job))) as pod:
        return _copy(cluster, pod, key, model["sha256"], target)


def pull_from_claim(cluster: Cluster, claim: str, image: str, target: Path) -> str:
    """Writes the last committed model of a volume, whose job may be deleted, to `target` and returns its SHA-256."""
    with _reader(cluster, reader_pod(claim, Place(image))) as pod:
        model = committed(cluster, pod)
        return _copy(cluster, pod, model.key, model.sha256, target)


def committed(cluster: Cluster, pod: str) -> ObjectRef:
    """The model of the commit that HEAD names, which is bound to it by digest."""
    heads = b"".join(cluster.output(pod, ["python", "-I", "-c", _LIST, _HEADS])).decode().split()
    if len(heads) != 1:
        raise CommandError(f"the volume holds the stores of {len(heads)} jobs, not of one: give another --claim")
    try:
        head = Head.stored(_printed(cluster, pod, heads[0]))
        if head.commit_key is None:
            raise CommandError("no model was ever committed to this volume")
        commit = _printed(cluster, pod, f"{names.PATH_STORE}/{head.commit_key}")
        if hashlib.sha256(commit).hexdigest() != head.commit_sha256:
            raise CommandError(f"{head.commit_key}: SHA-256 is not that in {heads[0]}: the volume is damaged")
        return CommitRecord.stored(commit).model
    except DamagedRecordError as error:
        raise CommandError(
            f"the records of the volume are damaged, or cannot be read by this version: {error}"
        ) from error


def repair_store(cluster: Cluster, job: str) -> list[str]:
    """Repairs the store of a job, in a pod of its aggregator's image that may write the claim; what it printed."""
    status = cluster.job(job).get("status") or {}
    claim = (status.get("children") or {}).get("volumeClaim")
    if not claim:
        raise CommandError(
            f"FederatedJob {cluster.namespace}/{job} has no volume claim yet: there is nothing to repair"
        )
    with _reader(cluster, reader_pod(claim, _place(cluster, job), read_only=False)) as pod:
        return (
            b"".join(cluster.output(pod, ["python", "-I", "-m", "fedaggregator.repair", names.PATH_STORE]))
            .decode()
            .splitlines()
        )


def _place(cluster: Cluster, job: str) -> Place:
    """That of the job's aggregator."""
    deployment = cluster.deployment(names.aggregator_name(job))["spec"]
    pod_spec = deployment["template"]["spec"]
    container = pod_spec["containers"][0]
    pull_policy = container.get("imagePullPolicy", "IfNotPresent")
    return Place(container["image"], pull_policy, pod_spec, deployment["selector"]["matchLabels"])


def reader_pod(claim: str, place: Place, *, read_only: bool = True) -> Json:
    """The pod: a given image, the claim, nothing else. On the aggregator's node, if it runs: a volume may allow one node."""
    volume = {"persistentVolumeClaim": {"claimName": claim, **({"readOnly": True} if read_only else {})}}
    parts = PodParts(
        labels={names.LABEL_MANAGED_BY: names.MANAGED_BY, names.LABEL_ROLE: names.ROLE_READER},
        container="reader",
        image=place.image,
        pull_policy=place.pull_policy,
        mounts=(Mount("store", volume, names.PATH_STORE, read_only=read_only),),
        resources=_RESOURCES,
        container_extra={"command": ["python", "-I", "-c", _WAIT]},
        spec_extra={
            "restartPolicy": "Never",
            "activeDeadlineSeconds": LIFETIME_S,
            "automountServiceAccountToken": False,
            "affinity": _near(place.beside) if place.beside else None,
            **{name: place.aggregator.get(name) for name in _PLACEMENT},
        },
    )
    body = template(parts)
    body["metadata"]["name"] = f"{names.digest8(claim)}-model-reader-{secrets.token_hex(3)}"
    return {"apiVersion": "v1", "kind": "Pod", **body}


def _near(labels: Json) -> Json:
    term = {"labelSelector": {"matchLabels": labels}, "topologyKey": "kubernetes.io/hostname"}
    rule = {"weight": 100, "podAffinityTerm": term}
    return {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [rule]}}


@contextmanager
def _reader(cluster: Cluster, manifest: Json) -> Iterator[str]:
    """The pod's name once it runs; it is deleted in the end."""
    pod = cluster.create_pod(manifest)
    try:
        settled = cluster.wait_for_pod(pod, lambda body: body["status"].get("phase") != "Pending", START_TIMEOUT_S)
        if settled["status"].get("phase") != "Running":
            raise ClusterError(f"Pod {cluster.namespace}/{pod} does not run: {_trouble(settled)}")
        yield pod
    finally:
        cluster.delete_pod(pod)


def _trouble(pod: Json) -> str:
    waiting = [(s.get("state") or {}).get("waiting") or {} for s in pod["status"].get("containerStatuses") or ()]
    conditions = [c for c in pod["status"].get("conditions") or () if c["status"] != "True" and c.get("message")]
    texts = [f"{entry.get('reason')}: {entry.get('message', '')}" for entry in [*waiting, *conditions] if entry]
    return "; ".join(texts) or str(pod["status"].get("phase"))


def _printed(cluster: Cluster, pod: str, path: str) -> bytes:
    return b"".join(cluster.output(pod, ["python", "-I", "-c", _PRINT, path]))


def _copy(cluster: Cluster, pod: str, key: str, sha256: str, target: Path) -> str:
    """Piece by piece, so that memory does not grow with the model."""
    temporary, digest = target.with_name(f".{target.name}.partial"), hashlib.sha256()
    try:
        with temporary.open("wb") as file:
            for piece in cluster.output(pod, ["python", "-I", "-c", _PRINT, f"{names.PATH_STORE}/{key}"]):
                file.write(piece)
                digest.update(piece)
        if digest.hexdigest() != sha256:
            raise CommandError(
                f"{key}: SHA-256 is {digest.hexdigest()}, but {sha256} was committed: pull again; if that does not help the "
                "file is damaged, and `fedloom store repair` goes back to the newest round that is whole"
            )
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return sha256
