"""Fetches a committed model out of a job's store volume, also when its aggregator is long scaled to zero.

A pod that only reads the claim lives for the length of the copy; the file comes through the API server. A bucket is read
directly (bucketreader.py). Called by `fedloom model pull` and `list`, which go by the job's status or, where a round is named or the
job is deleted, by the volume's records. `fedloom storage issued` reads other records in the same way; `fedloom store repair` uses
such a pod too, one that may write.
"""

import hashlib
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from fedapi import names
from fedapi.crd.ledger import public_key
from fedapi.jsonvalue import Json
from fedapi.wire.layout import Layout
from fedapi.wire.message import NewerRecordError, ObjectRef
from fedcli import releasegate
from fedcli.bucketreader import bucket_of
from fedcli.cluster import Cluster
from fedcli.errors import ClusterError, CommandError
from fedcli.storeerrors import CREDENTIALS, told
from fedcli.volumerecords import VolumeRecords, printing
from fedoperator.desired.pod import Mount, PodParts, template
from fedstore import history, wholemodel
from fedstore.errors import ContentMismatchError, HistoryDamagedError, MissingError
from fedstore.history import Committed, Readable

LIFETIME_S = 1800
START_TIMEOUT_S = 300.0
_URI = "volume://"
_WAIT = f"import time; time.sleep({LIFETIME_S})"
_PRINT = "import shutil, sys; shutil.copyfileobj(open(sys.argv[1], 'rb'), sys.stdout.buffer)"
_PLACEMENT = ("nodeSelector", "tolerations", "imagePullSecrets", "priorityClassName")
_RESOURCES: Json = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}}


@dataclass(frozen=True)
class Place:
    """Where a reader pod may run, and from which image: any with a `python` in it."""

    image: str
    pull_policy: str = "IfNotPresent"
    aggregator: Json = field(default_factory=dict)  # spec of its pods, for node selection
    beside: Json = field(default_factory=dict)  # labels of pods that may hold the volume on their node


def pull_model(
    cluster: Cluster,
    job: str,
    target: Path,
    round_: int | None = None,
    credentials: Path | None = None,
    *,
    exchanged_alone: bool = False,
) -> str:
    """Writes the last model, or that of a round, to `target` and returns the file's SHA-256. `credentials`: of a bucket.

    `exchanged_alone`: of a model of which a part travels, that part.
    """
    body = cluster.job(job)
    if bucket := bucket_of(body, credentials):
        return bucket.pull(target, round_, exchanged_alone=exchanged_alone)
    claim, last = _last(cluster, job)
    with _reader(cluster, reader_pod(claim, _place(cluster, job))) as pod:
        model, initial = last if round_ is None else _of_round(cluster, pod, round_)
        _check_released(cluster, pod, body, model)
        return _pulled(cluster, pod, model, initial, target, exchanged_alone)


def pull_from_claim(
    cluster: Cluster, claim: str, image: str, target: Path, round_: int | None = None, *, exchanged_alone: bool = False
) -> str:
    """The same of a volume, whose job may be deleted."""
    _require_no_gate(cluster, claim)
    with _reader(cluster, reader_pod(claim, Place(image))) as pod:
        return _pulled(cluster, pod, *_of_round(cluster, pod, round_), target, exchanged_alone)


def _check_released(cluster: Cluster, pod: str, body: Json, model: ObjectRef) -> None:
    gate = releasegate.of_job(body)
    if gate is not None:
        with VolumeRecords.of(cluster.output(pod, printing(releasegate.CARD))) as found:
            card = found.head(found.layout.card)
        gate.check(model, card.data if card else None)


def _require_no_gate(cluster: Cluster, claim: str) -> None:
    """CommandError where the volume is that of a job whose model has to be approved: its approvals are in the job."""
    for body in cluster.jobs():
        if body["spec"].get("release") and _claim_of(body) == claim:
            name = body["metadata"]["name"]
            raise CommandError(
                f"--claim {claim}: it is the store of {name}, whose model has to be approved (spec.release): "
                f"`fedloom model pull {name}` looks at that"
            )


def _pulled(
    cluster: Cluster, pod: str, model: ObjectRef, initial: ObjectRef | None, target: Path, exchanged_alone: bool
) -> str:
    copied = partial(_copy, cluster, pod)
    try:
        return wholemodel.pulled(copied, model, initial, target, exchanged_alone=exchanged_alone)
    except ContentMismatchError as error:
        raise CommandError(f"{error}: the file is no model") from error


def rounds(cluster: Cluster, job: str, credentials: Path | None = None) -> list[Committed]:
    """The committed rounds of a job, oldest first."""
    if bucket := bucket_of(cluster.job(job), credentials):
        return bucket.rounds()
    claim, _ = _last(cluster, job)
    with _reader(cluster, reader_pod(claim, _place(cluster, job))) as pod:
        return _rounds(cluster, pod)


def initial_model(job: Json, round_: int, credentials: Path | None = None) -> Json:
    """The model of a committed round as another job's task.initialModel. CommandError where pods would not find it, or not whole."""
    metadata, bucket = job["metadata"], bucket_of(job, credentials)
    pull = f"`fedloom model pull {metadata['name']} -n {metadata['namespace']} --round {round_}`"
    way_out = f"{pull} it, put the file where pods can read it, and give --uri and --sha256"
    if bucket is None:
        raise CommandError(f"the model of {metadata['name']} is on a volume, which no other job reads: {way_out}")
    with told(bucket.where, CREDENTIALS):
        commit = history.of_round(bucket.rounds(), round_)
        bucket.check_released(commit.model)
    if commit.initial is not None:
        raise CommandError(
            f"the model of round {round_} is a part of the whole one, the rest does not travel: {way_out}"
        )
    return bucket.initial_model(commit.model)


def rounds_of_claim(cluster: Cluster, claim: str, image: str) -> list[Committed]:
    """The same of a volume."""
    with _reader(cluster, reader_pod(claim, Place(image))) as pod:
        return _rounds(cluster, pod)


def _last(cluster: Cluster, job: str) -> tuple[str, tuple[ObjectRef, ObjectRef | None]]:
    """The claim of a job's store, the model that its status names, and the initial one that it is whole over."""
    model = (cluster.job(job).get("status") or {}).get("model")
    if not model:
        raise CommandError(
            f"FederatedJob {cluster.namespace}/{job} has no committed model yet: see kubectl describe fj {job}"
        )
    claim, ref = _named(model)
    return claim, (ref, _named(model["initial"])[1] if model.get("initial") else None)


def _named(said: Json) -> tuple[str, ObjectRef]:
    claim, _, key = said["uri"].removeprefix(_URI).partition("/")
    return claim, ObjectRef(key=key, sha256=said["sha256"], size=0)


def _of_round(cluster: Cluster, pod: str, round_: int | None) -> tuple[ObjectRef, ObjectRef | None]:
    """The model of a committed round, the last for None, and the initial one that it is whole over."""
    try:
        commit = history.of_round(_rounds(cluster, pod), round_)
    except MissingError as error:
        raise CommandError(str(error)) from error
    return commit.model, commit.initial


def _rounds(cluster: Cluster, pod: str) -> list[Committed]:
    """What the records of the volume say, bound to HEAD by digests."""
    printed = cluster.output(pod, printing(history.COMMIT))
    try:
        with VolumeRecords.of(printed) as records:
            return history.committed(records, records.layout)
    except HistoryDamagedError as error:
        raise CommandError(f"the records of the volume are damaged: {error}") from error
    except NewerRecordError as error:
        raise CommandError(f"the records of the volume cannot be read by this version: {error}") from error


@contextmanager
def records(
    cluster: Cluster, job: str, named: Iterable[str], credentials: Path | None = None
) -> Iterator[tuple[Readable, Layout]]:
    """A job's records of these names, readable as a store is, and where they are in it. `credentials`: of a bucket."""
    body = cluster.job(job)
    if bucket := bucket_of(body, credentials):
        with told(bucket.where, CREDENTIALS):
            yield bucket.store, bucket.layout
        return
    reader = _reader(cluster, reader_pod(_claim(cluster, body), _place(cluster, job)))
    with reader as pod, VolumeRecords.of(cluster.output(pod, printing(*named))) as found:
        yield found, found.layout


def repair_store(cluster: Cluster, job: str, credentials: Path | None = None) -> list[str]:
    """Repairs the store of a job, and says what was done: a bucket from here, a volume in a pod that may write the claim."""
    body = cluster.job(job)
    _require_nobody_else(body)
    key = public_key(body.get("status") or {})
    if bucket := bucket_of(body, credentials):
        return bucket.repaired(key)
    claim = _claim(cluster, body)
    with _reader(cluster, reader_pod(claim, _place(cluster, job), read_only=False)) as pod:
        return (
            b"".join(cluster.output(pod, ["python", "-I", "-m", "fedaggregator.repair", names.PATH_STORE, key]))
            .decode()
            .splitlines()
        )


def _require_nobody_else(job: Json) -> None:
    """CommandError where an aggregator may write a store that does not tell two writers apart."""
    s3 = (job["spec"].get("storage") or {}).get("s3") or {}
    ended = "outcome" in (job.get("status") or {})
    if s3.get("conditionalWrites") == "LeaseFenced" and not ended and not job["spec"].get("suspend"):
        raise CommandError(
            f"{job['metadata']['name']}: spec.storage.s3.conditionalWrites is LeaseFenced, so its store cannot be repaired while an "
            "aggregator may write it: suspend the job (spec.suspend), wait until its aggregator is gone, and repair again"
        )


def _claim(cluster: Cluster, body: Json) -> str:
    """The volume claim of a job's store."""
    claim = _claim_of(body)
    if not claim:
        raise CommandError(
            f"FederatedJob {cluster.namespace}/{body['metadata']['name']} has no volume claim yet: its store holds nothing"
        )
    return claim


def _claim_of(body: Json) -> str:
    return str(((body.get("status") or {}).get("children") or {}).get("volumeClaim") or "")


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


def _copy(cluster: Cluster, pod: str, ref: ObjectRef, target: Path) -> str:
    """Piece by piece, so that memory does not grow with the model."""
    key, sha256 = ref.key, ref.sha256
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
