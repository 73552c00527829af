"""`fedloom storage` as a user has it: processes, real servers of three clouds, credentials in folders."""

import os

import pytest

from fedstore.disk import DiskStore
from fedstore.opening import open_store
from tests import commands
from tests.property.fedaggregator.simulation import UID
from tests.unit.fedstore.test_copying import after

JOB_UID = "0b0ab1fc-0000-4000-8000-000000000001"
ALL = {"COLUMNS": "200", "NO_COLOR": "1"}


def fedloom(*words):
    done = commands.fedloom("storage", *words, env=os.environ | ALL, check=False)
    return done.returncode, done.stdout + done.stderr


def content(store):
    return {key: store.get(key) for key in store.keys("")}


@pytest.fixture
def moved(tmp_path):
    """A store folder with a job of three rounds, under a uid as Kubernetes makes them."""
    store = DiskStore(tmp_path / "store")
    made = after(3).store
    for key in made.keys(""):
        (store.put_once if "HEAD" not in key else _head(store))(key.replace(UID, JOB_UID), made.get(key))
    return tmp_path / "store"


def _head(store):
    return lambda key, data: store.replace_head(key, data, None)


@pytest.mark.parametrize(
    ("name", "option"), [("seaweedfs", ""), ("seaweedfs", "&fence=lease"), ("minio", ""), ("azurite", "")]
)
def test_a_users_bucket_is_tried_and_left_as_it_was(request, tmp_path, name, option):
    server = request.getfixturevalue(name)
    place, credentials = server.place() + option, server.credentials(tmp_path / "credentials")
    store = open_store(place, credentials)
    store.put_once("models/mine", b"1")
    code, output = fedloom("test", place, "--credentials", credentials)
    assert code == 0, output
    assert "leaves nothing behind" in output
    assert " NO " not in output
    assert ("a Lease keeps other writers off" in output) is bool(option)
    assert content(store) == {"models/mine": b"1"}


def test_a_store_that_breaks_a_promise_is_told_by_the_exit_code(fake_gcs, tmp_path):
    code, output = fedloom("test", fake_gcs.place(), "--credentials", fake_gcs.credentials(tmp_path / "credentials"))
    assert code == 1, output
    assert "roles/iam.serviceAccountTokenCreator" in output
    assert "this store cannot be used as it is" in output


def test_wrong_credentials_and_absent_buckets_are_told(azurite, fake_gcs, tmp_path):
    wrong = azurite.credentials(tmp_path / "wrong", key="d3Jvbmc=")
    code, output = fedloom("test", azurite.place(), "--credentials", wrong)
    assert code == 1, output
    assert "AuthorizationFailure" in output or "AuthenticationFailed" in output
    absent = fake_gcs.place(bucket="fedloom-absent")
    code, output = fedloom("test", absent, "--credentials", fake_gcs.credentials(tmp_path / "credentials"))
    assert code == 1, output
    assert "Traceback" not in output


@pytest.mark.parametrize("place", ["memory:x", "/nowhere/at/all", "ftp://x", "s3://"])
def test_what_cannot_be_tried_is_bad_input(place):
    code, output = fedloom("test", place)
    assert code == 2, output
    assert "Traceback" not in output


def test_a_job_goes_round_the_clouds_and_comes_back_the_same(moved, tmp_path, seaweedfs, fake_gcs, azurite):
    def at(server):
        return server.place(), server.credentials(tmp_path / type(server).__name__)

    before, place, options = content(DiskStore(moved)), moved, []
    for server in (seaweedfs, fake_gcs, azurite):
        target, credentials = at(server)
        code, output = fedloom("copy", place, target, *options, "--to-credentials", credentials)
        assert code == 0, output
        assert content(open_store(target, credentials)) == before
        place, options = target, ["--from-credentials", credentials]
    back = tmp_path / "back"
    code, output = fedloom("copy", place, back, *options, "--job", "job", "-n", "ns")
    assert code == 0, output
    assert content(DiskStore(back)) == before
    code, output = fedloom("copy", place, back, *options, "--verify")
    assert code == 0, output
    row = next(line.split() for line in output.splitlines() if line.strip().startswith("ns/job"))
    assert row == ["ns/job", JOB_UID, "0", "0", "B", str(len(before)), "was", "there"]


def test_a_target_in_use_is_refused_and_the_rest_of_the_store_is_copied(moved, tmp_path):
    target = tmp_path / "target"
    fedloom("copy", moved, target)
    later = DiskStore(target)
    key = f"control/ns/job-{JOB_UID}/HEAD.json"
    newer = after(4).store
    later.replace_head(key, newer.get(f"control/ns/job-{UID}/HEAD.json"), later.head(key).tag)
    other = "0b0ab1fc-0000-4000-8000-000000000002"
    store = DiskStore(moved)
    for each in list(store.keys("")):
        data = store.get(each)
        (store.put_once if "HEAD" not in each else _head(store))(each.replace(JOB_UID, other), data)
    code, output = fedloom("copy", moved, target)
    assert code == 1, output
    assert "ns/job was not copied" in output
    assert "not of the source's past" in output
    assert later.head(key.replace(JOB_UID, other)) is not None


def test_no_job_is_bad_input(moved, tmp_path):
    code, output = fedloom("copy", moved, tmp_path / "target", "--job", "other")
    assert (code, "holds no job of the name other" in output) == (2, True), output
