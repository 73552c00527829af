"""What only a bucket of S3 can do, or can do wrong, on real servers: races, URLs, keys of a KMS, uploads of the dead, rights."""

import contextlib
import hashlib
import os
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import botocore.auth
import httpx
import pytest

from fedapi.wire.message import ObjectRef
from fedstore import credentials
from fedstore.errors import (
    AlreadyExistsError,
    HeadMovedError,
    MissingError,
    StoreDeniedError,
    StoreFailedError,
    UnfitStoreError,
    UnknownStoreError,
)
from fedstore.opening import open_store
from tests.contract.fedstore import stores
from tests.servers import moto, weed
from tests.waiting import until

BODY = b"an update"
REF = ObjectRef(key="updates/a.bin", sha256=hashlib.sha256(BODY).hexdigest(), size=len(BODY))
LARGE = os.urandom(17 << 20)  # three parts


@pytest.fixture(params=stores.S3)
def server(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def store(server, tmp_path):
    return stores.of_server(server, tmp_path)


@pytest.fixture
def site(server):
    """Who has nothing but URLs, and the CA."""
    with httpx.Client(verify=ssl.create_default_context(cafile=str(server.ca)), trust_env=False) as client:
        yield client


def at_once(count, act):
    """What came of it, errors included."""
    ready, found = threading.Barrier(count), []

    def one(number):
        ready.wait()
        try:
            found.append(act(number))
        except (AlreadyExistsError, HeadMovedError) as error:
            found.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_of_sixteen_writers_of_an_object_one_wins(store):
    found = at_once(16, lambda number: store.put_once("a", f"{number}".encode()))
    assert [type(each) for each in found if not isinstance(each, ObjectRef)] == [AlreadyExistsError] * 15
    won = next(each for each in found if isinstance(each, ObjectRef))
    assert hashlib.sha256(store.get("a")).hexdigest() == won.sha256


def test_of_sixteen_swaps_of_head_one_wins(store):
    tag = store.replace_head("HEAD", b"start", None).tag
    found = at_once(16, lambda number: store.replace_head("HEAD", f"{number}".encode(), tag))
    assert [type(each) for each in found if isinstance(each, Exception)] == [HeadMovedError] * 15
    assert [each for each in found if not isinstance(each, Exception)] == [store.head("HEAD")]


def test_a_large_object_goes_in_parts_and_is_written_once(store, server):
    def put(data, key="models/a"):
        with store.writer(key, size=len(data)) as writer:
            for start in range(0, len(data), 1 << 20):
                writer.write(memoryview(data)[start : start + (1 << 20)])
            return writer.finish()

    assert put(LARGE) == put(LARGE)
    assert store.get("models/a") == LARGE
    assert store.stat("models/a").tag.endswith('-3"'), "an upload of three parts"
    with pytest.raises(AlreadyExistsError):
        put(LARGE[::-1])
    middle = bytearray(9 << 20)
    with store.reader("models/a") as reader:
        reader.read_into(memoryview(middle), 4 << 20)
    assert middle == LARGE[4 << 20 : 13 << 20]


def test_a_url_takes_what_it_was_made_for_and_nothing_else(store, site):
    put = store.presigned_put(REF, time.time(), 600)
    assert put.url not in repr(put)

    def answer(body=BODY, url=put.url, **headers):
        return site.put(url, content=body, headers={**put.headers, **headers}).status_code

    refused = {
        "other length": answer(b"longer than that", **{"Content-Length": "16"}),
        "other bytes": answer(b"no update"),
        "other bytes, and their digest": answer(b"no update", **{"x-amz-checksum-sha256": "A" * 43 + "="}),
        "other key": answer(url=put.url.replace("a.bin", "b.bin")),
        "over what is there": answer(**{"If-None-Match": "other"}),
    }
    assert {why: code for why, code in refused.items() if code not in {400, 403}} == {}
    assert store.arrived(REF) == "it is not there"
    assert answer() == 200
    assert answer() == 412, "once"
    assert store.arrived(REF) == ""
    assert site.get(store.presigned_get(REF, time.time(), 600).url).content == BODY
    assert store.arrived(REF.model_copy(update={"size": 3})) == "it has 9 bytes, not 3"


def test_a_url_expires(store, site):
    store.put_once(REF.key, BODY)
    get, put = store.presigned_get(REF, time.time(), 1), store.presigned_put(REF, time.time(), 1)
    assert get.expires_at <= time.time() + 1
    until(lambda: site.get(get.url).status_code == 403)
    assert site.put(put.url, content=BODY, headers=put.headers).status_code == 403


def test_what_arrived_is_judged_by_the_servers_own_digest(store, server, monkeypatch):
    """Of an object that went in parts the server knows none, so that is read."""
    store.clean()
    other = ObjectRef(key="updates/b.bin", sha256="0" * 64, size=len(BODY))
    store.put_once(other.key, BODY)
    assert REF.sha256 in store.arrived(other)
    monkeypatch.setattr(store.bucket, "read_into", None)
    assert REF.sha256 in store.arrived(other)


KILLED = """
import sys
from pathlib import Path
from fedstore.opening import open_store
store = open_store(sys.argv[1], Path(sys.argv[2]))
with store.writer("models/half", size=100 << 20) as writer:
    while True:
        writer.write(bytes(1 << 20))
        print("written", flush=True)
        if writer._content.written == 20 << 20:
            sys.stdin.read()
"""


def test_what_a_killed_writer_left_is_removed(seaweedfs, tmp_path):
    place, folder = seaweedfs.place(), seaweedfs.credentials(tmp_path / "credentials")
    bucket = place.removeprefix("s3://").partition("/")[0]
    command = [sys.executable, "-c", KILLED, place, str(folder)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        for _ in range(20):
            assert writer.stdout.readline() == b"written\n"
        writer.send_signal(signal.SIGKILL)
    with seaweedfs.clients() as client:
        assert len(client.list_multipart_uploads(Bucket=bucket)["Uploads"]) == 1
        store = open_store(place, folder)
        store.clean(("models/other/", "updates/"))
        assert len(client.list_multipart_uploads(Bucket=bucket)["Uploads"]) == 1
        store.clean(("models/",))
        assert client.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []
    assert list(store.keys("")) == []


def test_an_object_that_is_not_finished_leaves_no_upload(seaweedfs, tmp_path):
    place = seaweedfs.place()
    store = open_store(place, seaweedfs.credentials(tmp_path / "credentials"))
    with store.writer("models/half", size=len(LARGE)) as writer:
        writer.write(LARGE[:-1])
    with seaweedfs.clients() as client:
        bucket = place.removeprefix("s3://").partition("/")[0]
        assert client.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []


def test_an_object_is_encrypted_by_the_customers_key_and_a_key_that_is_gone_is_named(tmp_path):
    with moto.serving(tmp_path / "moto") as keys, weed.serving(tmp_path / "weed", kms=keys.endpoint) as server:
        with contextlib.closing(keys.client("kms")) as kms:
            key = kms.create_key()["KeyMetadata"]["KeyId"]
        place, folder = server.place(kms_key=key), server.credentials(tmp_path / "credentials")
        store = open_store(place, folder)
        ref = store.put_once("models/a", b"model")
        put = store.presigned_put(REF, time.time(), 600)
        context = ssl.create_default_context(cafile=str(server.ca))
        with httpx.Client(verify=context, trust_env=False) as site:
            assert site.put(put.url, content=BODY, headers=put.headers).status_code == 200
        with server.clients() as client:
            for each in (ref.key, REF.key):
                told = client.head_object(Bucket=store.bucket.of("")["Bucket"], Key=f"p/{each}")
                assert told["ServerSideEncryption"] == "aws:kms"
                assert told["SSEKMSKeyId"].endswith(key)
        assert store.get("models/a") == b"model"
        moto.forget_all(keys)
        for use in (lambda: store.put_once("models/b", b"next"), lambda: store.get("models/a")):
            with pytest.raises(StoreDeniedError, match="key that encrypts"):
                use()


def test_credentials_that_are_revoked_are_named_and_new_ones_are_taken_up(seaweedfs, tmp_path, monkeypatch):
    monkeypatch.setattr(credentials, "_LOOK_AGAIN_S", 0.0)
    iam = seaweedfs.client("iam")
    iam.create_user(UserName="aggregator")
    everything = (
        '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:*"],"Resource":["arn:aws:s3:::*"]}]}'
    )
    iam.put_user_policy(UserName="aggregator", PolicyName="all", PolicyDocument=everything)
    first, second = (iam.create_access_key(UserName="aggregator")["AccessKey"] for _ in range(2))
    folder = seaweedfs.credentials(tmp_path / "credentials", first["AccessKeyId"], first["SecretAccessKey"])
    store = open_store(seaweedfs.place(), folder)
    until(lambda: store.put_once("a", b"1"), not_yet=(StoreDeniedError,))  # the server learns of keys when it does
    iam.delete_access_key(UserName="aggregator", AccessKeyId=first["AccessKeyId"])

    def denied():
        with contextlib.suppress(StoreDeniedError):
            store.get("a")
            return False
        return True

    until(denied)
    with pytest.raises(StoreDeniedError, match=f"access key id.*{folder}"):
        store.get("a")
    seaweedfs.credentials(folder, second["AccessKeyId"], second["SecretAccessKey"])
    assert store.get("a") == b"1"
    iam.close()


def test_the_least_rights_of_the_documentation_are_enough_and_no_more(seaweedfs, tmp_path):
    page = (Path(__file__).parents[3] / "docs" / "storage.md").read_text()
    (policy,) = (text for text in re.findall(r"```json\n(.*?)```", page, flags=re.DOTALL) if '"Statement"' in text)
    bucket = seaweedfs.bucket()
    with contextlib.closing(seaweedfs.client("iam")) as iam:
        iam.create_user(UserName="least")
        document = policy.replace("fedloom-models", bucket)
        iam.put_user_policy(UserName="least", PolicyName="least", PolicyDocument=document)
        key = iam.create_access_key(UserName="least")["AccessKey"]
    folder = seaweedfs.credentials(tmp_path / "credentials", key["AccessKeyId"], key["SecretAccessKey"])
    store = open_store(seaweedfs.place(bucket, prefix="hospital"), folder)
    until(lambda: store.clean() is None, not_yet=(StoreDeniedError,))  # the server learns of keys when it does
    assert store.head("HEAD") is None
    head = store.replace_head("HEAD", b"1", None)
    store.replace_head("HEAD", b"2", head.tag)
    with store.writer("models/a", size=len(LARGE)) as writer:
        writer.write(LARGE)
        writer.finish()
    with store.writer("models/b", size=len(LARGE)) as writer:
        writer.write(LARGE)
    assert store.size("models/a") == len(LARGE)
    assert store.get("models/a") == LARGE
    assert list(store.keys("")) == ["HEAD", "models/a"]
    store.delete("models/a")
    other = open_store(seaweedfs.place(bucket, prefix="another"), folder)
    for use in (other.clean, lambda: other.put_once("a", b"1"), lambda: other.get("a")):
        with pytest.raises(StoreDeniedError, match=r"lack a right; those that are needed are in docs/storage\.md"):
            use()


def test_a_secret_that_is_wrong_is_named(server, tmp_path):
    folder = server.credentials(tmp_path / "credentials", secret="not-the-secret")
    with pytest.raises(StoreDeniedError, match="secret access key is not that of the access key id"):
        open_store(server.place(server.shared_bucket), folder).get("a")


def test_where_credentials_were_looked_for_is_said(server, tmp_path, monkeypatch):
    folder = server.credentials(tmp_path / "credentials")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        (folder / name).unlink()
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(StoreDeniedError, match=f"no credentials in the folder {folder}"):
        open_store(server.place(server.shared_bucket), folder).get("a")


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_a_half_of_the_credentials_is_told_by_its_name(server, tmp_path, name):
    folder = server.credentials(tmp_path / "credentials")
    (folder / name).unlink()
    with pytest.raises(StoreDeniedError, match=f"{folder} lacks {name}"):
        open_store(server.place(server.shared_bucket), folder)


@pytest.mark.parametrize("where", ["s3://a!b/p?endpoint=https://127.0.0.1:1", "s3://bucket/p?endpoint=no-url"])
def test_a_place_that_cannot_be_is_told_by_its_name(minio, tmp_path, where):
    with pytest.raises(UnknownStoreError, match=re.escape(where.partition("?")[0])):
        open_store(where, minio.credentials(tmp_path / "credentials")).get("a")


def test_in_a_bucket_with_versions_a_deleted_object_may_be_written_again(server, tmp_path):
    bucket = server.bucket()
    with server.clients() as client:
        client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        store = open_store(server.place(bucket), server.credentials(tmp_path / "credentials"))
        store.put_once("a", b"1")
        store.delete("a")
        assert (store.size("a"), list(store.keys(""))) == (None, [])
        store.put_once("a", b"2")
        with pytest.raises(AlreadyExistsError):
            store.put_once("a", b"3")
        head = store.replace_head("HEAD", b"1", None)
        assert store.replace_head("HEAD", b"2", head.tag) == store.head("HEAD")
        versions = client.list_object_versions(Bucket=bucket, Prefix="p/a")["Versions"]
        assert len(versions) == 2, "what was deleted is still there for who may look"


def test_an_unknown_authority_is_named_with_the_way_out(server, tmp_path):
    folder = server.credentials(tmp_path / "credentials")
    (folder / "ca.crt").unlink()
    with pytest.raises(StoreFailedError, match=r"certificate is not trusted: give the CA as ca\.crt"):
        open_store(server.place(server.shared_bucket), folder).get("a")


def test_a_bucket_that_is_gone_is_named_and_never_taken_for_an_empty_one(server, tmp_path):
    bucket = server.bucket()
    store = open_store(server.place(bucket), server.credentials(tmp_path / "credentials"))
    store.put_once("a", b"1")
    with server.clients() as client:
        client.delete_object(Bucket=bucket, Key="p/a")
        client.delete_bucket(Bucket=bucket)
    uses = {
        "get": lambda: store.get("a"),
        "head": lambda: store.head("HEAD"),
        "size": lambda: store.size("a"),
        "keys": lambda: list(store.keys("")),
        "put": lambda: store.put_once("a", b"1"),
        "clean": store.clean,
        "region": store.bucket.region,
    }
    for use in uses.values():
        with pytest.raises(UnfitStoreError, match="no such bucket: make it"):
            use()


@pytest.mark.parametrize(("minutes", "works"), [(-10, True), (10, True), (-20, False), (20, False)])
def test_a_clock_that_is_off_is_named(store, monkeypatch, minutes, works):
    store.put_once("a", b"1")
    now = botocore.auth.get_current_datetime
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: now() + timedelta(minutes=minutes))
    if works:
        assert store.get("a") == b"1"
    else:
        with pytest.raises(StoreDeniedError, match="clock and the store's differ"):
            store.get("a")


def test_an_object_that_is_exchanged_while_it_is_read_is_an_error(store):
    store.replace_head("HEAD", LARGE, None)
    with store.reader("HEAD") as reader:
        store.replace_head("HEAD", LARGE[::-1], store.head("HEAD").tag)
        with pytest.raises(StoreFailedError, match="has changed"):
            reader.read_into(memoryview(bytearray(100)), 1 << 20)
        store.delete("HEAD")
        with pytest.raises(MissingError):
            reader.read_into(memoryview(bytearray(100)), 1 << 20)


def test_more_keys_than_a_page_holds_are_listed_in_the_order_of_their_bytes(store):
    expected = sorted([*(f"a/{number}" for number in range(1020)), "a-b", "a.b", "a0"])
    at_once(4, lambda number: [store.put_once(key, b"") for key in expected[number::4]])
    assert list(store.keys("")) == expected
