"""`fedloom run` with a store and backups in buckets of a real S3 server, whose credentials a Secret of the folder holds."""

import hashlib
import json

from tests.integration.fedlocal.runs import JOB, SITES, Lab, job


def secret(server, folder, name="fedloom-store-s3"):
    """As a user writes it."""
    files = {path.name: path.read_text() for path in server.credentials(folder).iterdir()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": files}


def place(server, bucket):
    reference = {"credentialsSecretRef": {"name": "fedloom-store-s3"}}
    return {"s3": {"bucket": bucket, "prefix": "lab", "region": "us-east-1", "endpoint": server.endpoint} | reference}


def test_a_job_in_a_bucket_gives_the_same_model_and_goes_on_from_its_backup_when_the_bucket_is_lost(
    done, seaweedfs, tmp_path
):
    store, copies, other = (seaweedfs.bucket() for _ in range(3))
    credentials = secret(seaweedfs, tmp_path / "credentials")
    backup = {"everyRounds": 3, "destination": place(seaweedfs, copies)}
    lab = Lab.of(tmp_path / "lab", job(storage=place(seaweedfs, store), backup=backup), *SITES, credentials)
    code, output = lab.run()
    assert code == 0, output
    assert lab.digest() == done[0].digest(), "encrypted, by presigned URLs, and bit for bit the same"
    status = json.loads((lab.state / "job.json").read_text())["status"]
    assert status["model"]["uri"].startswith(f"s3://{store}/lab/models/default/{JOB}-")
    assert not list((lab.state / "claims").glob("*")), "nothing of it is on this machine"

    lab.fedloom("model", "pull", JOB, "-o", tmp_path / "model")
    assert hashlib.sha256((tmp_path / "model").read_bytes()).hexdigest() == lab.digest()
    listed = lab.fedloom("model", "list", JOB)
    assert [line.split()[0] for line in listed.stdout.splitlines()[1:]] == ["0", "1", "2", "3"]

    with seaweedfs.clients() as client:
        keys = [each["Key"] for each in client.list_objects_v2(Bucket=store)["Contents"]]
        for key in keys:
            client.delete_object(Bucket=store, Key=key)
    restore = {
        "source": place(seaweedfs, copies),
        "backup": f"default/{JOB}",
        "publicKey": status["backup"]["publicKey"],
    }
    body = job(rounds=3, storage=place(seaweedfs, other), restoreFrom=restore)
    again = Lab.of(tmp_path / "again", body, *SITES, credentials)
    code, output = again.run()
    assert code == 0, output
    assert again.digest() == lab.digest()


def test_a_bucket_that_is_not_there_is_named(seaweedfs, tmp_path):
    body = job(storage=place(seaweedfs, "no-such-bucket"))
    lab = Lab.of(tmp_path / "lab", body, *SITES, secret(seaweedfs, tmp_path / "credentials"))
    code, output = lab.run()
    assert code == 1
    assert "StoreUnfit" in output
    assert "s3://no-such-bucket" in output
