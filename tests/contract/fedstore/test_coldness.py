"""Cold classes: what is sent there comes back, unchanged, after it was asked for. Over servers that have such classes."""

import contextlib
import json
import urllib.request

import pytest

from fedstore.coldness import cold_class
from fedstore.disk import DiskStore
from fedstore.errors import StoreFailedError
from fedstore.opening import open_store
from tests.waiting import until


@pytest.fixture
def moto_store(moto, tmp_path):
    return open_store(moto.place(), moto.credentials(tmp_path / "credentials"))


def slow_thaw(moto, steps: int | None) -> None:
    """moto thaws after so many questions; at once for None."""
    transition = {"progression": "manual", "times": steps} if steps else {"progression": "immediate"}
    body = json.dumps({"model_name": "s3::keyrestore", "transition": transition}).encode()
    request = urllib.request.Request(f"{moto.endpoint}/moto-api/state-manager/set-transition", body, method="POST")
    request.add_header("content-type", "application/json")
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
        assert answer.status < 300


def test_s3_reads_nothing_cold_before_it_was_asked_for(moto, moto_store):
    cold = cold_class(moto_store)
    assert "hours" in cold.thaw_takes
    ref = moto_store.put_once("models/a", b"weights")
    assert cold.thawed("models/a")
    cold.freeze("models/a")
    cold.freeze("models/a")
    with pytest.raises(StoreFailedError, match="cold class"):
        moto_store.get("models/a")
    slow_thaw(moto, 3)
    try:
        answers = []
        until(lambda: answers.append(cold.thawed("models/a")) or answers[-1])
        assert answers[0] is False
        assert len(answers) > 2, "asked once, then waited for"
    finally:
        slow_thaw(moto, None)
    assert moto_store.get("models/a") == b"weights"
    assert moto_store.size("models/a") == ref.size


def test_s3_keeps_what_else_is_there(moto, moto_store):
    cold = cold_class(moto_store)
    for key in ("models/a", "models/b"):
        moto_store.put_once(key, key.encode())
    cold.freeze("models/a")
    assert moto_store.get("models/b") == b"models/b"
    assert list(moto_store.keys("models/")) == ["models/a", "models/b"]
    with contextlib.closing(moto.client()) as client:
        bucket = moto_store.bucket.place.bucket
        found = {each["Key"]: each["StorageClass"] for each in client.list_objects_v2(Bucket=bucket)["Contents"]}
    assert {key.rpartition("/")[2]: kind for key, kind in found.items() if "models" in key} == {"a": "GLACIER", "b": "STANDARD"}  # fmt: skip


def test_azure_rehydrates(azurite, tmp_path):
    store = open_store(
        azurite.place(azurite.shared_bucket, prefix="cold"), azurite.credentials(tmp_path / "credentials")
    )
    cold = cold_class(store)
    store.put_once("models/a", b"weights")
    assert cold.thawed("models/a")
    cold.freeze("models/a")
    cold.freeze("models/a")
    with pytest.raises(StoreFailedError):
        store.get("models/a")
    until(lambda: cold.thawed("models/a"))
    assert store.get("models/a") == b"weights"


def test_a_volume_has_none(tmp_path):
    assert cold_class(DiskStore(tmp_path)) is None


def test_google_reads_at_once(fake_gcs, tmp_path):
    store = open_store(fake_gcs.place(fake_gcs.shared_bucket, prefix="cold"), fake_gcs.credentials(tmp_path / "c"))
    cold = cold_class(store)
    store.put_once("models/a", b"weights")
    cold.freeze("models/a")
    cold.freeze("models/a")
    assert cold.thawed("models/a")
    assert store.get("models/a") == b"weights"
