"""A store that fails, lies or goes, seen by the S3 adapter: a proxy does to real servers what networks and worse servers do."""

import hashlib
import itertools
import os
import secrets
import threading
import time
from base64 import b64encode

import pytest

from fedapi.wire.location import parsed
from fedapi.wire.message import ObjectRef
from fedstore import s3, s3access
from fedstore.bucketstore import BucketStore
from fedstore.errors import (
    AlreadyExistsError,
    FencedOffError,
    HeadMovedError,
    MissingError,
    StoreDeniedError,
    StoreFailedError,
    StoreFullError,
    UnfitStoreError,
)
from fedstore.opening import open_store
from fedstore.s3 import S3Bucket
from tests.servers import faulty
from tests.servers.faulty import Fault, refused
from tests.waiting import until

DATA = os.urandom(3 << 20)
LARGE = os.urandom(17 << 20)  # three parts


@pytest.fixture(scope="module")
def proxy(seaweedfs, tmp_path_factory):
    with faulty.before(seaweedfs, tmp_path_factory.mktemp("proxy") / "server") as running:
        yield running


@pytest.fixture
def store(proxy, tmp_path):
    yield opened(proxy, tmp_path)
    proxy.fault = lambda _: None


def opened(proxy, tmp_path):
    """Known to be fit, with nothing seen yet."""
    place = proxy.server.place(proxy.upstream.shared_bucket, prefix=secrets.token_hex(8))
    store = open_store(place, proxy.server.credentials(tmp_path / "credentials"))
    store.clean()
    proxy.seen.clear()
    return store


def first(count, fault, fits=lambda _: True):
    """That many requests have it."""
    left = itertools.count()
    return lambda request: fault if fits(request) and next(left) < count else None


def put(store, key, data):
    with store.writer(key, size=len(data)) as writer:
        writer.write(data)
        return writer.finish()


@pytest.mark.parametrize("fault", [refused(503, "SlowDown"), refused(500, "InternalError"), Fault(lost_answer=True)])
def test_what_passes_is_tried_again_and_a_write_meets_itself(store, proxy, fault):
    proxy.fault = first(1, fault)
    ref = store.put_once("a", b"1")
    proxy.fault = first(1, fault)
    head = store.replace_head("HEAD", b"1", None)
    proxy.fault = first(1, fault)
    assert store.replace_head("HEAD", b"2", head.tag) == store.head("HEAD")
    proxy.fault = first(1, fault, lambda request: request.method == "POST" and "uploadId" in request.target)
    large = put(store, "large", LARGE)
    proxy.fault = first(1, fault)
    assert store.get(ref.key) == b"1"
    assert hashlib.sha256(store.get(large.key)).hexdigest() == large.sha256


def test_a_storm_ends_in_an_error_for_who_retries_and_leaves_nothing(proxy, tmp_path, monkeypatch):
    for module in (s3, s3access):
        monkeypatch.setattr(module, "_TRIES", 2)
    store = opened(proxy, tmp_path)
    proxy.fault = lambda _: refused(503, "SlowDown")
    uses = (lambda: store.put_once("a", b"1"), lambda: store.get("a"), lambda: put(store, "large", LARGE))
    for use in uses:
        with pytest.raises(StoreFailedError, match="SlowDown"):
            use()
    proxy.fault = lambda request: refused(503, "SlowDown") if "partNumber=2" in request.target else None
    with pytest.raises(StoreFailedError, match="SlowDown"):
        put(store, "large", LARGE)
    proxy.fault = lambda _: None
    assert list(store.keys("")) == []
    with proxy.upstream.clients() as client:
        assert client.list_multipart_uploads(Bucket=proxy.upstream.shared_bucket).get("Uploads", []) == []


def test_a_store_that_is_down_is_an_error_and_is_found_again(store, proxy):
    store.put_once("a", b"1")
    proxy.down()
    try:
        for use in (lambda: store.put_once("b", b"1"), lambda: store.get("a"), lambda: list(store.keys(""))):
            with pytest.raises(StoreFailedError):
                use()
    finally:
        proxy.up()
    assert store.get("a") == b"1"
    store.put_once("b", b"1")


def test_a_store_that_says_nothing_is_given_up(proxy, monkeypatch, tmp_path):
    store = opened(proxy, tmp_path)
    monkeypatch.setattr(s3access, "_SILENCE_S", 0.5)
    for module in (s3, s3access):
        monkeypatch.setattr(module, "_TRIES", 2)
    silent = open_store(store.bucket.place.text(), tmp_path / "credentials")
    held = threading.Event()
    proxy.fault = lambda _: Fault(held=held)
    try:
        with pytest.raises(StoreFailedError, match=r"[Tt]imeout"):
            silent.get("a")
    finally:
        held.set()
        proxy.fault = lambda _: None


def test_a_body_that_breaks_off_is_gone_on_with(store, proxy):
    ref = put(store, "a", DATA)
    proxy.fault = first(2, Fault(cut_after=1_000_000))
    assert store.get("a") == DATA
    with store.reader("a") as reader:
        part = bytearray(2 << 20)
        reader.read_into(memoryview(bytearray(10)), 0)
        proxy.seen.clear()
        proxy.fault = first(2, Fault(cut_after=600_000))
        reader.read_into(memoryview(part), 1 << 20)
        assert part == DATA[1 << 20 :]
        assert len({request.headers["range"] for request in proxy.seen}) == len(proxy.seen) == 3, "never from the start"
        proxy.fault = lambda _: Fault(cut_after=0)
        with pytest.raises(StoreFailedError):
            reader.read_into(memoryview(part), 1 << 20)
        with pytest.raises(StoreFailedError):
            store.get(ref.key)


def test_other_bytes_than_were_asked_for_are_an_error(store, proxy):
    put(store, "a", DATA)
    with store.reader("a") as reader:
        proxy.fault = lambda _: Fault(changed={"Content-Range": f"bytes 0-99/{len(DATA)}"})
        with pytest.raises(StoreFailedError, match="others came"):
            reader.read_into(memoryview(bytearray(100)), 1 << 20)


def test_an_answer_with_nothing_in_it_is_not_asked_for_without_end(store, proxy):
    put(store, "a", DATA)
    with store.reader("a") as reader:
        proxy.fault = first(20, Fault(body=b""))
        with pytest.raises(StoreFailedError, match="fewer bytes came"):
            reader.read_into(memoryview(bytearray(100)), 1 << 20)


def test_a_wrong_etag_never_lets_head_be_overwritten(store, proxy):
    first_head = store.replace_head("HEAD", b"1", None)
    proxy.fault = lambda request: Fault(changed={"ETag": '"wrong"'}) if request.method in {"GET", "PUT"} else None
    told = store.head("HEAD")
    assert told.tag != first_head.tag
    with pytest.raises(HeadMovedError):
        store.replace_head("HEAD", b"2", told.tag)
    proxy.fault = lambda request: Fault(changed={"ETag": '"wrong"'}) if request.method == "HEAD" else None
    put(store, "a", DATA)
    with pytest.raises(StoreFailedError, match="has changed"), store.reader("a") as reader:
        reader.read_into(memoryview(bytearray(100)), 0)
    proxy.fault = lambda _: None
    assert store.head("HEAD") == first_head


def test_a_stale_list_costs_neither_an_object_nor_the_rule_that_they_are_written_once(store, proxy):
    store.put_once("a/old", b"1")
    listed = f"<Contents><Key>{store.name('a/old')}</Key></Contents><IsTruncated>false</IsTruncated>"
    stale = Fault(body=f"<ListBucketResult>{listed}</ListBucketResult>".encode())
    store.delete("a/old")
    store.put_once("a/new", b"2")
    proxy.fault = lambda request: stale if "list-type" in request.target else None
    assert list(store.keys("a/")) == ["a/old"]
    with pytest.raises(MissingError):
        store.get("a/old")
    with pytest.raises(AlreadyExistsError):
        store.put_once("a/new", b"other")
    assert store.put_once("a/new", b"2") == ObjectRef(key="a/new", sha256=hashlib.sha256(b"2").hexdigest(), size=1)


@pytest.mark.parametrize(
    ("fault", "kind", "said"),
    [
        (refused(507, "XMinioStorageFull"), StoreFullError, "no room left"),
        (refused(403, "QuotaExceeded"), StoreFullError, "no room left"),
        (refused(403, "AccessDenied"), StoreDeniedError, "lack a right; those that are needed are in docs/storage.md"),
        (refused(400, "ExpiredToken"), StoreDeniedError, "session token has expired"),
        (refused(400, "KMS.DisabledException"), StoreDeniedError, "key that encrypts"),
        (refused(400, "AuthorizationHeaderMalformed"), UnfitStoreError, "in another region"),
    ],
)
def test_what_a_server_refuses_is_told_with_the_way_out(store, proxy, fault, kind, said):
    for method, data in (("PUT", b"1"), ("POST", LARGE)):
        proxy.fault = lambda request, method=method: fault if request.method == method else None
        with pytest.raises(kind, match=said):
            put(store, "a", data)
    proxy.fault = lambda _: None
    assert list(store.keys("")) == []


CONDITIONS = frozenset({"if-none-match", "if-match"})


@pytest.fixture
def unchecked(moto, tmp_path):
    """A proxy before a server that checks no signature, so that conditions can be taken from requests."""
    with faulty.before(moto, tmp_path / "proxy") as running:
        yield running


def bucket_store(proxy, tmp_path, options="", fence=None, bucket=""):
    place = parsed(f"{proxy.server.place(bucket, prefix=secrets.token_hex(8))}{options}")
    return BucketStore(S3Bucket(place, proxy.server.credentials(tmp_path / "credentials"), fence), place.prefix)


def ignoring(fits):
    return lambda request: Fault(without=CONDITIONS) if fits(request) else None


def test_a_store_that_ignores_conditions_is_refused_before_anything_is_written(unchecked, tmp_path):
    store = bucket_store(unchecked, tmp_path)
    unchecked.fault = ignoring(lambda request: request.method == "PUT")
    for use in (store.clean, lambda: store.put_once("a", b"1"), lambda: store.replace_head("HEAD", b"1", None)):
        with pytest.raises(UnfitStoreError, match=r"ignores If-None-Match when an object is put: .*conditional writes"):
            use()
    unchecked.fault = ignoring(lambda request: request.method == "PUT" and "if-match" in request.headers)
    with pytest.raises(UnfitStoreError, match="ignores If-Match when an object is put"):
        store.clean()
    unchecked.fault = ignoring(lambda request: request.method == "POST" and "uploadId" in request.target)
    with pytest.raises(UnfitStoreError, match="ignores If-None-Match when a multipart upload is completed"):
        store.clean()
    assert list(store.bucket.names("")) == []
    unchecked.fault = ignoring(lambda _: False)
    store.put_once("a", b"1")


def test_with_a_lease_such_a_store_is_compared_with_before_it_is_written(unchecked, tmp_path):
    unchecked.fault = ignoring(lambda _: True)
    store = bucket_store(unchecked, tmp_path, "&fence=lease")
    store.clean()
    store.put_once("a", b"1")
    store.put_once("a", b"1")
    with pytest.raises(AlreadyExistsError):
        store.put_once("a", b"2")
    put(store, "large", LARGE)
    with pytest.raises(AlreadyExistsError):
        put(store, "large", LARGE[::-1])
    head = store.replace_head("HEAD", b"1", None)
    with pytest.raises(HeadMovedError):
        store.replace_head("HEAD", b"2", None)
    assert store.replace_head("HEAD", b"2", head.tag) == store.head("HEAD")
    assert "If-None-Match" not in store.presigned_put(ObjectRef(key="b", sha256="0" * 64, size=1), 0, 60).headers


class Fence:
    """Says what it is told to say."""

    def __init__(self):
        self.say = lambda: None

    def check(self):
        self.say()


@pytest.fixture
def fenced(proxy, tmp_path):
    """A store of a server that gets no conditions, with its fence."""
    fence = Fence()
    store = bucket_store(proxy, tmp_path, "&fence=lease", fence, proxy.upstream.shared_bucket)
    store.clean()
    proxy.seen.clear()
    yield store, fence
    proxy.fault = lambda _: None


def raising(error):
    def say():
        raise error

    return say


@pytest.mark.parametrize(
    "error", [FencedOffError("another's"), StoreFailedError("not renewed")], ids=["lost", "unknown"]
)
def test_outside_the_fence_nothing_is_written_and_nothing_deleted(fenced, error):
    store, fence = fenced
    head, large = store.replace_head("HEAD", b"1", None), hashlib.sha256(LARGE).hexdigest()
    store.put_once("a", b"1")
    fence.say = raising(error)
    uses = (
        lambda: store.replace_head("HEAD", b"2", head.tag),
        lambda: store.put_once("b", b"1"),
        lambda: put(store, f"large-{large}", LARGE),
        lambda: store.delete("a"),
    )
    for use in uses:
        with pytest.raises(type(error), match=str(error)):
            use()
    fence.say = lambda: None
    assert store.head("HEAD") == head
    assert list(store.keys("")) == ["HEAD", "a"]


def test_a_writer_that_is_held_between_the_fence_and_its_write_is_refused_by_the_store(fenced, proxy, monkeypatch):
    store, fence = fenced
    head = store.replace_head("HEAD", b"1", None)
    monkeypatch.setattr(s3, "WRITE_S", 1)

    def held():
        fence.say = raising(FencedOffError("another's by now"))
        begun = time.time()
        until(lambda: time.time() > begun + 3)  # past the second of the URL, by the server's clock too

    fence.say = held
    proxy.seen.clear()
    with pytest.raises(FencedOffError, match="another's by now"):
        store.replace_head("HEAD", b"2", head.tag)
    assert [request.method for request in proxy.seen if request.method == "PUT"] == ["PUT"], "it was sent, once"
    fence.say = lambda: None
    assert store.head("HEAD") == head


def test_a_clock_that_is_far_from_the_stores_holds_writes_up(fenced, proxy):
    store, _ = fenced
    ahead = Fault(changed={"date": "Thu, 01 Jan 2026 00:00:00 GMT"})
    proxy.fault = lambda request: ahead if request.method == "HEAD" else None
    with pytest.raises(StoreFailedError, match=r"clock and the store's are \d+ s apart, and at most 5 s"):
        store.put_once("a", b"1")
    assert not [request for request in proxy.seen if request.method == "PUT"]


def test_a_lost_answer_a_storm_and_another_writer_are_told_apart_without_conditions(fenced, proxy):
    store, _ = fenced
    for fault in (refused(503, "SlowDown"), Fault(lost_answer=True)):
        before = store.head("HEAD")
        proxy.fault = first(1, fault, lambda request: request.method == "PUT")
        now = store.replace_head("HEAD", fault.code.encode(), before.tag if before else None)
        assert store.head("HEAD") == now
        proxy.fault = first(1, fault, lambda request: request.method == "PUT")
        store.put_once(f"object-{fault.code}", b"1")
    with pytest.raises(HeadMovedError):
        store.replace_head("HEAD", b"3", before.tag)


def test_what_a_server_says_of_digests_is_not_believed_when_it_does_not_check_them(unchecked, tmp_path):
    store = bucket_store(unchecked, tmp_path)
    store.clean()
    ref = store.put_once("a", b"1")
    store.delete("a")
    store.put_once("a", b"2")
    claimed = b64encode(bytes.fromhex(ref.sha256)).decode()
    said = Fault(changed={"x-amz-checksum-sha256": claimed})
    unchecked.fault = lambda request: said if request.method == "HEAD" else None
    assert "its SHA-256 is" in store.arrived(ref)
