"""From `kubectl apply` of a job with restoreFrom until its next round runs: a model of 100 MB, on the local cluster.

A job of two rounds in a bucket was backed up to another one and is gone, with its bucket. The new job's Job restores into a
third one, the aggregator starts and plans round 3. The peer reads the model from one bucket and puts it into the other, by
bare boto3: the bound for the bytes.
"""

import hashlib
import time
from base64 import b64encode
from contextlib import ExitStack
from typing import Any

from fedapi import names
from tests.bench import cluster_job, embedded
from tests.bench.bench import Bench
from tests.bench.kube import Watch, path
from tests.bench.rows import Row
from tests.cluster.addresses import HOST_IP
from tests.e2e import places
from tests.e2e.world import World
from tests.servers import minio
from tests.servers.s3server import S3Server

SITES, PARAMETERS, ROUNDS = 2, 25_000_000, 2
JOB = "bench"


def measure(bench: Bench) -> Row:
    """The row."""
    with ExitStack() as stack:
        cluster, world = stack.enter_context(cluster_job.installed(bench.folder("cluster")))
        server = stack.enter_context(minio.serving(bench.folder("minio") / "server", HOST_IP))
        store, safe = server.bucket(), server.bucket()
        told = _backed_up(world, server, store, safe)
        places.forget(server, store)
        watch = Watch(cluster, path(names.JOB_KIND, world.namespace))
        restore = {"source": places.bucket(server, safe), "backup": told["object"], "publicKey": told["publicKey"]}
        began = time.monotonic()
        world.apply([_job(server, server.bucket(), ROUNDS + 2, restoreFrom=restore)])
        world.wait("the next round", lambda: world.in_round(JOB, ROUNDS + 1))
        running = min(at for at, body in watch.events if _in_round(body, ROUNDS + 1))
        world.completes(JOB)
        return Row("restore_to_next_round_s", running - began, "s", _moved_s(server, safe))


def _backed_up(world: World, server: S3Server, store: str, safe: str) -> dict[str, Any]:
    """What status says of the backup of the last round; the job is gone."""
    backup = {"everyRounds": ROUNDS, "destination": places.bucket(server, safe)}
    sites = [embedded.site(f"site-{number}") for number in range(SITES)]
    world.apply([places.credentials(server, places.BUCKET_SECRET), *sites, _job(server, store, ROUNDS, backup=backup)])
    world.completes(JOB)
    world.wait("a backup of the last round", lambda: world.status(JOB).get("backup", {}).get("round") == ROUNDS)
    told: dict[str, Any] = world.status(JOB)["backup"]
    world.kubectl("delete", "fj", JOB)
    world.wait("the job's children to go", lambda: not world.list("jobs") and not world.list("pods"))
    return told


def _job(server: S3Server, bucket: str, rounds: int, **spec: object) -> dict[str, Any]:
    job = embedded.job(JOB, "addone:task", SITES, rounds, image=cluster_job.IMAGE, parameters=PARAMETERS)
    return job | {"spec": job["spec"] | {"storage": places.bucket(server, bucket), **spec}}


def _in_round(body: dict[str, Any], number: int) -> bool:
    restored = "restoreFrom" in body.get("spec", {})
    return restored and bool(body.get("status", {}).get("round", {}).get("current", 0) >= number)


def _moved_s(server: S3Server, safe: str) -> float:
    """Reads the largest object of the backups and puts it elsewhere, hashed on both ways."""
    elsewhere = server.bucket()
    with server.clients() as client:
        found = client.list_objects_v2(Bucket=safe)["Contents"]
        key = max(found, key=lambda each: each["Size"])["Key"]
        began = time.monotonic()
        data = client.get_object(Bucket=safe, Key=key)["Body"].read()
        checksum = b64encode(hashlib.sha256(data).digest()).decode()
        client.put_object(Bucket=elsewhere, Key="moved", Body=data, ChecksumSHA256=checksum, IfNoneMatch="*")
        return time.monotonic() - began
