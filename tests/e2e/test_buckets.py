"""A job whose store is a bucket, on the real cluster: backed up and proved by its CronJobs, lost, and restored elsewhere."""

from collections.abc import Iterator

import pytest
import yaml

from tests.cluster.addresses import HOST_IP
from tests.e2e.buckets import credentials, forget, place
from tests.e2e.test_heart_disease import hospitals, undisturbed
from tests.e2e.world import World
from tests.servers import minio
from tests.servers.s3server import S3Server

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]
__all__ = ["hospitals", "undisturbed"]  # fixtures
EVERY_MINUTE = "* * * * *"
FIRST_ROUNDS = 5


@pytest.fixture(scope="module")
def server(platform, tmp_path_factory) -> Iterator[S3Server]:
    """S3 over TLS, with a certificate of its own, where pods reach it."""
    with minio.serving(tmp_path_factory.mktemp("minio") / "server", HOST_IP) as started:
        yield started


def _documents(hospitals: list[dict], server: S3Server, **spec: object) -> list[dict]:
    """The example with other fields in its job's spec, and the Secret of its buckets."""
    copies = list(yaml.safe_load_all(yaml.safe_dump_all(hospitals)))
    for body in copies:
        if body["kind"] == "FederatedJob":
            body["spec"] |= spec
    return [credentials(server), *copies]


def _of_round(status: dict, round_: int) -> dict:
    """What status says of the newest backup, if it holds that round."""
    told = status.get("backup", {})
    return told if told.get("round") == round_ else {}


def test_a_job_is_backed_up_proved_lost_and_goes_on_elsewhere_to_the_same_model(
    platform, world, server, hospitals, undisturbed
):
    (example,) = (body for body in hospitals if body["kind"] == "FederatedJob")
    job, rounds = example["metadata"]["name"], example["spec"]["rounds"]
    store, safe = server.bucket(), server.bucket()
    sandbox = next(body for body in hospitals if body["kind"] == "FLClient")["spec"]["data"]
    backup = {
        "schedule": EVERY_MINUTE,
        "destination": place(server, safe),
        "verify": {"schedule": EVERY_MINUTE, "tolerance": "0.5", "data": sandbox},
    }
    world.apply(_documents(hospitals, server, rounds=FIRST_ROUNDS, storage=place(server, store), backup=backup))
    status = world.completes(job)
    assert status["model"]["uri"].startswith(f"s3://{store}/fedloom/")

    whole = world.wait("a backup of the last round", lambda: _of_round(world.status(job), FIRST_ROUNDS))

    def proved() -> dict:
        told = world.status(job)["backup"]  # names of backups count on: a later one may be there by now
        return told if told.get("verifiedObject", "") >= whole["object"] else {}

    told = world.wait("it to be restored and found right", proved)
    world.wait("BackupHealthy", lambda: world.condition(job, "BackupHealthy").get("status") == "True")
    header, row = world.kubectl("get", "fj", job, "-o", "wide").splitlines()
    assert row[header.index("BACKUP") :][:1].isdigit(), "the age of the proved backup is shown"
    with server.clients() as client:
        sent = [each["Key"] for each in client.list_objects_v2(Bucket=store).get("Contents", ())]
    assert not [key for key in sent if key.startswith("fedloom/updates/") and key.endswith(".safetensors")]

    world.kubectl("delete", "namespace", world.namespace, namespaced=False)
    forget(server, store)

    restore = {"source": place(server, safe), "backup": told["verifiedObject"], "publicKey": told["publicKey"]}
    with World.create(platform.kubeconfig, "restored") as elsewhere:
        again = _documents(
            hospitals, server, storage=place(server, server.bucket()), restoreFrom=restore, rounds=rounds
        )
        elsewhere.apply(again)
        restored = elsewhere.completes(job)
        assert elsewhere.condition(job, "Restored").get("status") == "True", elsewhere.picture()
    assert restored["round"]["progress"] == f"{rounds}/{rounds}"
    assert restored["model"]["sha256"] == undisturbed
