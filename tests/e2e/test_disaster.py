"""The whole data plane on real clusters: a job that loses its cluster and its bucket goes on in another cluster to the same model."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from fedapi import names
from tests.cluster import lifecycle
from tests.cluster.addresses import HOST_IP
from tests.cluster.api import Cluster
from tests.e2e import places
from tests.e2e.test_heart_disease import hospitals, undisturbed
from tests.e2e.world import World
from tests.servers import minio, moto
from tests.servers.s3server import S3Server
from tools import deploy

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]
__all__ = ["hospitals", "undisturbed"]  # fixtures
EVERY_MINUTE = "* * * * *"
FIRST_ROUNDS = 5
TABLE, TABLE_SECRET = "fedloom-sites", "table-credentials"
DOOMED, ELSEWHERE = "doomed", "elsewhere"


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[S3Server]:
    """S3 over TLS, with a certificate of its own, where pods of every cluster reach it."""
    with minio.serving(tmp_path_factory.mktemp("minio") / "server", HOST_IP) as started:
        yield started


@pytest.fixture(scope="module")
def cloud(tmp_path_factory) -> Iterator[S3Server]:
    """SQS and DynamoDB, the same way."""
    with moto.serving(tmp_path_factory.mktemp("moto") / "server", HOST_IP, tls=True) as started:
        yield started


@pytest.fixture(scope="module")
def clusters(platform, hospitals, cloud) -> Iterator[tuple[Future[Cluster], Future[Cluster]]]:
    """Two, each with a Fedloom and so with keys of its own: one that will be lost, whose sites' heartbeats go into a table,
    and one with nothing else in it. They come up one after the other, beside what a test does meanwhile."""
    thread = ThreadPoolExecutor(1)
    try:
        secret, values = places.credentials(cloud, TABLE_SECRET), places.registry(cloud, TABLE, TABLE_SECRET)
        yield (
            thread.submit(_installed, DOOMED, platform.name, secret, **values),
            thread.submit(_installed, ELSEWHERE, DOOMED),
        )
    finally:
        thread.shutdown(cancel_futures=True)
        for name in (DOOMED, ELSEWHERE):
            lifecycle.down(name, images=True)


def _installed(name: str, images_of: str, *system: dict[str, Any], **values: str) -> Cluster:
    """A new cluster with Fedloom on it. `system`: what is in Fedloom's namespace before."""
    cluster = Cluster.up(name, fresh=True, images_of=images_of)
    cluster.kubectl("create", "namespace", deploy.SYSTEM_NAMESPACE)
    for body in system:
        cluster.kubectl("create", f"--namespace={deploy.SYSTEM_NAMESPACE}", "-f", "-", stdin=yaml.safe_dump(body))
    deploy.install_chart(cluster.kubeconfig, None, **values)
    return cluster


def _with_data_plane(hospitals: list[dict], cloud: S3Server, **spec: object) -> list[dict]:
    """The example with queues and other fields in its job's spec."""
    copies = list(yaml.safe_load_all(yaml.safe_dump_all(hospitals)))
    for body in copies:
        if body["kind"] == "FederatedJob":
            body["spec"] |= {"events": places.queues(cloud), **spec}
        elif body["kind"] == "FLClient":
            body["spec"] |= {"events": places.queues_of_a_site()}
    return copies


def _secrets(server: S3Server, cloud: S3Server) -> list[dict[str, Any]]:
    """Those that its manifests name."""
    return [places.credentials(server, places.BUCKET_SECRET), places.credentials(cloud, places.QUEUE_SECRET)]


def _from_the_backup(server: S3Server, safe: str, told: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    """The manifests that the backup holds, as the documentation has them printed: by its bucket, and its public key."""
    where = ("--credentials", server.credentials(folder), "--public-key", told["publicKey"])
    command = (sys.executable, "-m", "fedcli", "backup", "manifests", server.place(safe, "fedloom"))
    printed = subprocess.run([*command, "--job", told["verifiedObject"], *where], capture_output=True, check=True)
    return list(yaml.safe_load_all(printed.stdout))


def _goes_by_queue(world: World) -> bool:
    """Whether the aggregator has sent orders by queue, and taken what sites say from there."""
    for pod in world.list("pods", f"{names.LABEL_ROLE}={names.ROLE_AGGREGATOR}"):
        try:
            port = names.AGGREGATOR_MONITORING_PORT
            text = httpx.get(f"http://{pod['status'].get('podIP')}:{port}/metrics", trust_env=False).text
        except (httpx.TransportError, httpx.InvalidURL):  # it begins, or ends
            continue
        name = "fedloom_aggregator_queue_messages_total{"
        counts = [float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name)]
        if len(counts) == 2 and min(counts) > 0:
            return True
    return False


def _in_the_table(cloud: S3Server) -> dict[str, dict[str, Any]]:
    """Rows of the sites that sent heartbeats."""
    client = cloud.client("dynamodb")
    try:
        return {item["ClientID"]["S"]: item for item in client.scan(TableName=TABLE)["Items"]}
    finally:
        client.close()


def _of_round(status: dict, round_: int) -> dict:
    """What status says of the newest backup, if it holds that round."""
    told = status.get("backup", {})
    return told if told.get("round") == round_ else {}


def _registered(world: World, site: str) -> bool:
    """Whether the site counts as connected, and what it said that it has is shown."""
    status = world.get("flc", site).get("status", {})
    connected = {c["type"]: c["status"] for c in status.get("conditions", ())}.get("Connected")
    return connected == "True" and "cpu" in status.get("capability", {})


def _proved(world: World, job: str) -> dict[str, Any]:
    """What status says once a backup of the last of the first rounds was made, restored and found right."""
    whole = world.wait("a backup of the last round", lambda: _of_round(world.status(job), FIRST_ROUNDS))

    def proved() -> dict:
        told = world.status(job)["backup"]  # names of backups count on: a later one may be there by now
        return told if told.get("verifiedObject", "") >= whole["object"] else {}

    return world.wait("it to be restored and found right", proved)


def test_a_job_that_loses_its_cluster_and_its_bucket_goes_on_elsewhere_to_the_same_model(
    clusters, server, cloud, hospitals, undisturbed, tmp_path
):
    doomed, elsewhere = clusters
    (example,) = (body for body in hospitals if body["kind"] == "FederatedJob")
    job, rounds = example["metadata"]["name"], example["spec"]["rounds"]
    sites = {body["metadata"]["name"]: body["spec"] for body in hospitals if body["kind"] == "FLClient"}
    patients = [body for body in hospitals if body["kind"] == "ConfigMap"]
    store, safe = server.bucket(), server.bucket()
    backup = {
        "schedule": EVERY_MINUTE,
        "destination": places.bucket(server, safe),
        "verify": {"schedule": EVERY_MINUTE, "tolerance": "0.5", "data": sites["cleveland"]["data"]},
    }
    lost = doomed.result()
    with World.create(lost.kubeconfig, "hospitals") as world:
        said = {"rounds": FIRST_ROUNDS, "storage": places.bucket(server, store), "backup": backup}
        world.apply([*_secrets(server, cloud), *_with_data_plane(hospitals, cloud, **said)])
        world.wait("orders and answers by queue", lambda: _goes_by_queue(world))
        status = world.completes(job)
        assert status["model"]["uri"].startswith(f"s3://{store}/fedloom/")
        heard = _in_the_table(cloud)
        for site in sites:
            row = heard[f"{world.namespace}/{site}"]
            assert {"cpu", "memory"} <= row["Capability"]["M"].keys()
            assert float(row["ExpiryTime"]["N"]) == pytest.approx(
                float(row["LastSeen"]["N"]) + names.SITE_EXPIRES_S, abs=1
            )
        world.wait("the sites' heartbeats to be shown", lambda: all(_registered(world, site) for site in sites))
        told = _proved(world, job)
        world.wait("BackupHealthy", lambda: world.condition(job, "BackupHealthy").get("status") == "True")
        header, row = world.kubectl("get", "fj", job, "-o", "wide").splitlines()
        assert row[header.index("BACKUP") :][:1].isdigit(), "the age of the proved backup is shown"
        with server.clients() as client:
            sent = [each["Key"] for each in client.list_objects_v2(Bucket=store).get("Contents", ())]
        assert not [key for key in sent if key.startswith("fedloom/updates/") and key.endswith(".safetensors")]
        world.kubectl("delete", "namespace", world.namespace, namespaced=False)
    places.forget(server, store)
    lost.down()

    *clients, again = _from_the_backup(server, safe, told, tmp_path / "credentials")
    again["spec"] |= {"rounds": rounds, "storage": places.bucket(server, server.bucket())}
    del again["spec"]["backup"]
    with World.create(elsewhere.result().kubeconfig, "restored") as world:
        world.apply([*_secrets(server, cloud), *patients, *clients, again])
        restored = world.completes(job)
        assert world.condition(job, "Restored").get("status") == "True", world.picture()
    assert restored["round"]["progress"] == f"{rounds}/{rounds}"
    assert restored["model"]["sha256"] == undisturbed
