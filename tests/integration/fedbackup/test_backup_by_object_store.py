"""The job, its backups and the job that goes on from them in buckets of a real S3 server; and when a key of its KMS is gone."""

import contextlib

import pytest

from fedapi import names
from fedapi.outcome import Exit
from tests.integration.fedaggregator.buckets import job_in
from tests.integration.fedaggregator.harness import JobFolder, config
from tests.integration.fedbackup.backups import CLIENTS, NEW, OLD, Backups, finished, trained
from tests.servers import moto, weed


@pytest.fixture(params=["seaweedfs", "minio"])
def server(request):
    return request.getfixturevalue(request.param)


def test_from_bucket_to_bucket(tmp_path, server):
    job = trained(tmp_path, job=job_in(server, tmp_path / "job", *CLIENTS, rounds=4, uid=OLD))
    credentials = server.credentials(tmp_path / "credentials")
    backups = Backups(tmp_path / "backups", server.place(), credentials)
    assert backups.run("create", job)[0] == Exit.OK
    assert backups.run("create", job)[0] == Exit.OK
    assert backups.of(job).newest().manifest.new_bytes == 0
    assert backups.verify(job, 0.6, FEDLOOM_BACKUP_TOLERANCE="0.01")[:2] == (Exit.OK, Exit.OK)
    new = job_in(server, tmp_path / "new", *CLIENTS, rounds=4, uid=NEW)
    new.model = None
    key = backups.facts()["publicKey"]
    code, log = backups.run("restore", new, FEDLOOM_RESTORE_FROM="lab/job", FEDLOOM_BACKUP_PUBLIC_KEY=key)
    assert code == Exit.OK, log
    undisturbed = JobFolder(tmp_path / "undisturbed", config(CLIENTS, rounds=4))
    assert finished(new) == finished(undisturbed)


def test_a_key_of_the_kms_that_is_gone(tmp_path):
    job = trained(tmp_path / "job")
    with moto.serving(tmp_path / "moto") as keys, weed.serving(tmp_path / "weed", kms=keys.endpoint) as server:
        with contextlib.closing(keys.client("kms")) as kms:
            key = kms.create_key()["KeyMetadata"]["KeyId"]
        credentials = server.credentials(tmp_path / "credentials")
        backups = Backups(tmp_path / "backups", server.place(kms_key=key), credentials)
        assert backups.run("create", job)[0] == Exit.OK
        moto.forget_all(keys)
        code, log = backups.run("verify", job)
        assert code == Exit.STORE_DENIED, log
        assert "key that encrypts" in log
        assert backups.facts()["failures"][0]["reason"] == "StoreDenied"
        code, log = backups.run("restore", job, **{names.ENV_RESTORE_FROM: "lab/job", names.ENV_JOB_UID: NEW})
        assert code == Exit.STORE_DENIED, log


def test_a_destination_outside_the_allowed_regions_gets_nothing(tmp_path, seaweedfs):
    allowed = config(CLIENTS, rounds=2, uid=OLD, residency=("eu-west-1",))
    job = trained(tmp_path / "job", rounds=1, job=JobFolder(tmp_path / "job", allowed))
    bucket = seaweedfs.bucket()
    backups = Backups(tmp_path / "backups", seaweedfs.place(bucket), seaweedfs.credentials(tmp_path / "credentials"))
    code, log = backups.run("create", job)
    assert code == Exit.BAD_SETTINGS, log
    assert "the bucket is in us-east-1, and storage.residency allows eu-west-1" in log
    with seaweedfs.clients() as client:
        assert "Contents" not in client.list_objects_v2(Bucket=bucket)
