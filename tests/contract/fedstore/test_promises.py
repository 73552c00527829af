"""`fedloom storage test` over real servers and over stores that break a promise: each is found out, and nothing is left."""

import contextlib
import socket
import threading

import pytest

from fedstore import promises
from fedstore.bucketstore import BucketStore
from fedstore.presigning import Presigned
from tests.contract.fedstore import stores
from tests.contract.fedstore.buckets import MemoryBucket

RACES = {"of many writers of an object one wins", "of many swaps of HEAD one wins"}
URLS = {"a URL to write grants one object once", "a URL to read grants one object", "URLs expire"}


@pytest.mark.parametrize("store", [kind for kind in stores.KINDS if kind != "bucket"], indirect=True)
def test_every_promise_is_tried_and_nothing_is_left(store, request):
    kind = request.node.callspec.params["store"]
    outcomes = {each.promise: each for each in promises.tried(store, alone=kind == "fenced")}
    broken = {each.promise for each in outcomes.values() if each.kept is False}
    if kind == "fake_gcs":
        assert broken == {*URLS}, "its emulator looks at no signature"
    else:
        assert not broken, [outcomes[each].remark for each in broken]
    untried = {each.promise for each in outcomes.values() if each.kept is None}
    assert untried == {"disk": URLS, "memory": URLS, "fenced": RACES}.get(kind, set())
    assert list(store.keys("")) == []


@pytest.fixture
def store(request, tmp_path):
    return stores.opened(request, tmp_path)


class Careless(MemoryBucket):
    def put(self, name, data, expected, metadata):
        self.objects.pop(name, None)
        return super().put(name, data, None, metadata)


class Stale(MemoryBucket):
    """Lists what was there a while ago."""

    def names(self, prefix):
        return iter(sorted(name for name in list(self.objects)[:-1] if name.startswith(prefix)))


class Keeping(MemoryBucket):
    def delete(self, name):
        pass


@pytest.mark.parametrize(
    ("bucket", "broken"),
    [
        (Careless, {"objects are written once", "HEAD moves by compare-and-swap", "large objects in parts", *RACES}),
        (Stale, {"listings are up to date"}),
        (Keeping, {"deleted is gone", "leaves nothing behind"}),
    ],
)
def test_a_store_that_breaks_a_promise_is_found_out(bucket, broken):
    made = bucket()
    made.part_bytes = 1 << 20
    found = [each for each in promises.tried(BucketStore(made)) if each.promise not in URLS]
    assert {each.promise for each in found if each.kept is False} == broken
    assert all(each.remark for each in found if each.kept is False)


def test_what_was_written_is_deleted_when_the_caller_stops(tmp_path):
    bucket = MemoryBucket()
    outcomes = promises.tried(BucketStore(bucket))
    next(outcomes)
    assert bucket.objects
    outcomes.close()
    assert not bucket.objects


def test_a_server_that_does_not_speak_http_is_told_and_ends_nothing():
    with socket.create_server(("127.0.0.1", 0)) as server:

        class Strange(MemoryBucket):
            def _presigned(self, method, name, until):
                return Presigned(method, f"http://127.0.0.1:{server.getsockname()[1]}/{name}", until)

        def answer():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        connection.recv(65536)
                        connection.sendall(b"220 mail\r\n")

        threading.Thread(target=answer, daemon=True).start()
        outcomes = {each.promise: each for each in promises.tried(BucketStore(Strange()))}
        server.shutdown(socket.SHUT_RDWR)
    for promise in URLS:
        assert outcomes[promise].remark.startswith("the store does not answer")
