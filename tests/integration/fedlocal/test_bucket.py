"""`fedloom run` of a job whose store is a bucket: the manifest that a cluster takes, a real S3 server, the model of a volume."""

import hashlib
import json
import os
import secrets
from dataclasses import dataclass

import pytest

from fedapi.wire import location
from fedcli import modelreader
from fedstore import copying
from fedstore.opening import open_store
from tests.commands import fedloom
from tests.integration.fedlocal.runs import JOB, SITES, Lab, job

SECRET = "fedloom-store-models"


@pytest.mark.parametrize(("encrypted", "writes"), [(True, "Required"), (False, "LeaseFenced")])
def test_a_job_in_a_bucket_ends_with_the_model_of_a_volume(tmp_path, minio, encrypted, writes):
    place = location.parsed(minio.place(minio.shared_bucket, prefix=f"models/{secrets.token_hex(6)}"))
    files = {path.name: path.read_text() for path in minio.credentials(tmp_path / "credentials").iterdir()}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "stringData": files}
    bucket = {"bucket": place.bucket, "prefix": place.prefix, "region": place.region, "endpoint": place.endpoint}
    storage = {
        "s3": bucket | {"credentialsSecretRef": {"name": SECRET}, "conditionalWrites": writes},
        "clientEncryption": {"enabled": encrypted},
    }
    models = []
    for name, documents in (("volume", (job(), *SITES)), ("bucket", (job(storage=storage), *SITES, secret))):
        lab = Lab.of(tmp_path / name, *documents)
        code, output = lab.run()
        assert code == 0, output
        assert files["AWS_SECRET_ACCESS_KEY"] not in output
        models.append(lab.digest())
    assert models[0] == models[1]
    lab.fedloom("model", "pull", JOB, "--output", tmp_path / "model")
    assert hashlib.sha256((tmp_path / "model").read_bytes()).hexdigest() == models[1]
    told = json.loads((lab.state / "job.json").read_text())["status"]
    found = {each["requirement"]: each["state"] for each in told["storage"]["findings"]}
    assert found["versions are kept"] == "Missing", "the aggregator has looked at the bucket's settings"
    assert [c["reason"] for c in told["conditions"] if c["type"] == "StorageSafe"] == ["Finished"]
    with minio.clients() as client:
        found = client.list_objects_v2(Bucket=place.bucket, Prefix=f"{place.prefix}/")["Contents"]
    keys = [each["Key"] for each in found]
    assert any("/models/" in key for key in keys)
    assert any(key.endswith("/issues.json") for key in keys)
    assert not any("/updates/" in key and ".safetensors" in key for key in keys), (
        "deleted when the last round was committed"
    )


def test_a_bucket_is_repaired_with_the_users_credentials_and_tells_what_was_issued(tmp_path, minio):
    lab, place, credentials = _ended(tmp_path, minio)
    store, (layout,) = open_store(place, credentials), copying.jobs(open_store(place, credentials))
    store.delete(layout.head)
    told = lab.fedloom("store", "repair", JOB).stdout
    assert "HEAD.json is missing" in told
    assert "HEAD was set to round 3" in told
    (last,) = (key for key in store.keys(f"{layout.models()}/000003-"))
    store.delete(last)
    cluster = Cluster(json.loads((lab.state / "job.json").read_text()))
    said = modelreader.repair_store(cluster, JOB, credentials)
    assert last in said[0]
    assert said[1].startswith("HEAD was set to round 2")
    assert modelreader.repair_store(cluster, JOB, credentials) == ["the store is whole: nothing was changed"]
    rows = json.loads(lab.fedloom("storage", "issued", JOB, "--json").stdout)
    assert {(row["site"], row["method"], row["for_round"]) for row in rows if row["site"] in {"north", "south"}} == {
        (name, *what) for name in ("north", "south") for what in (("GET", 0), ("PUT", 1), ("PUT", 2), ("PUT", 3))
    }
    one = ["--round", "2", "--site", "north"]
    given = ("--store", place, "--credentials", credentials, *one)
    table = fedloom("storage", "issued", *given, env=os.environ | {"NO_COLOR": "1"}).stdout
    assert [line.split()[0] for line in table.splitlines()[1:]] == ["2"] * len(table.splitlines()[1:])
    assert "client_north_round_2-" in table
    assert "south" not in table
    assert "X-Amz" not in table + json.dumps(rows)
    with modelreader.records(cluster, JOB, "issues.json", credentials) as (readable, found):
        assert (found, readable.head(layout.head)) == (layout, store.head(layout.head))


def _ended(folder, minio):
    """A run in a bucket that is complete, the bucket's place, and the folder of its credentials."""
    credentials = minio.credentials(folder / "credentials")
    place = minio.place(minio.shared_bucket, prefix=f"run/{secrets.token_hex(6)}")
    files = {path.name: path.read_text() for path in credentials.iterdir()}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "stringData": files}
    said = location.parsed(place)
    bucket = {"bucket": said.bucket, "prefix": said.prefix, "region": said.region, "endpoint": said.endpoint}
    storage = {"s3": bucket | {"credentialsSecretRef": {"name": SECRET}}}
    lab = Lab.of(folder / "lab", job(storage=storage), *SITES, secret)
    code, output = lab.run()
    assert code == 0, output
    return lab, place, credentials


@dataclass(frozen=True)
class Cluster:
    """That has the job as a run left it."""

    record: dict

    def job(self, name):
        assert name == self.record["metadata"]["name"]
        return self.record
