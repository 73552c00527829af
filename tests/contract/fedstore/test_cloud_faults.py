"""Stores of Google and Azure that fail, lie or go: a proxy does to the emulators what networks and clouds do."""

import gc
import itertools
import os
import secrets
from dataclasses import replace

import pytest

from fedstore import azure, credentials, gcs
from fedstore.errors import HeadMovedError, StoreDeniedError, StoreFailedError, UnfitStoreError
from fedstore.opening import open_store
from tests.servers import faulty
from tests.servers.faulty import Fault, refused

# Google's library does not close the answers after which it tries again.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <ssl:ResourceWarning")
DATA = os.urandom(3 << 20)
LARGE = os.urandom(17 << 20)  # three parts


@pytest.fixture(params=["fake_gcs", "azurite"])
def proxy(request, tmp_path):
    server = request.getfixturevalue(request.param)
    with faulty.before(server, tmp_path / "proxy") as running:
        both = tmp_path / "both.crt"  # Google tells where an upload goes on: at the server itself
        both.write_text(running.server.ca.read_text() + server.ca.read_text())
        account = f"/{server.account}" if request.param == "azurite" else ""
        running.server = replace(running.server, endpoint=running.server.endpoint + account, ca=both)
        yield running


@pytest.fixture
def store(proxy, tmp_path, monkeypatch):
    monkeypatch.setattr(azure, "_TRIES", 2)
    place = proxy.server.place(proxy.upstream.shared_bucket, prefix=secrets.token_hex(8))
    yield open_store(place, proxy.server.credentials(tmp_path / "credentials"))
    gc.collect()


def first(count, fault, fits=lambda _: True):
    """That many requests have it."""
    left = itertools.count()
    return lambda request: fault if fits(request) and next(left) < count else None


def put(store, key, data):
    with store.writer(key, size=len(data)) as writer:
        writer.write(data)
        return writer.finish()


@pytest.mark.parametrize("fault", [refused(503, "ServerBusy"), Fault(lost_answer=True)])
def test_what_passes_is_tried_again_and_a_write_meets_itself(store, proxy, fault):
    proxy.fault = first(1, fault)
    ref = store.put_once("a", b"1")
    proxy.fault = first(1, fault)
    head = store.replace_head("HEAD", b"1", None)
    proxy.fault = first(1, fault)
    assert store.replace_head("HEAD", b"2", head.tag) == store.head("HEAD")
    proxy.fault = first(1, fault)
    large = put(store, "large", LARGE)
    proxy.fault = first(1, fault)
    assert store.get(ref.key) == b"1"
    proxy.fault = first(1, fault)
    assert store.get(large.key) == LARGE
    proxy.fault = first(1, fault)
    assert list(store.keys("")) == ["HEAD", "a", "large"]
    proxy.fault = first(1, fault)
    store.delete("a")
    proxy.fault = lambda _: None
    assert store.size("a") is None


def test_a_swap_that_was_lost_is_lost_though_its_answer_is_too(store, proxy):
    head = store.replace_head("HEAD", b"1", None)
    store.replace_head("HEAD", b"2", head.tag)
    proxy.fault = first(1, Fault(lost_answer=True))
    with pytest.raises(HeadMovedError):
        store.replace_head("HEAD", b"2", head.tag)


def test_an_answer_that_breaks_off_is_never_taken_for_all_of_it(store, proxy):
    ref = put(store, "large", LARGE)
    proxy.fault = first(2, Fault(cut_after=1 << 20), lambda request: request.method == "GET")
    whole = bytearray(len(LARGE))
    with store.reader(ref.key) as reader:
        for _ in range(4):  # where the library does not try again, the reader's user does
            try:
                reader.read_into(memoryview(whole), 0)
            except StoreFailedError:
                continue
            break
    assert whole == LARGE
    put(store, "small", DATA)
    proxy.fault = first(1, Fault(cut_after=100), lambda request: request.method == "GET")
    try:
        assert store.get("small") == DATA
    except StoreFailedError:
        assert store.get("small") == DATA


def test_an_outage_is_told_and_over_when_it_is_over(store, proxy, monkeypatch):
    ref = store.put_once("a", b"1")
    proxy.down()
    with monkeypatch.context() as impatient:  # it fails however long it is tried
        impatient.setattr(gcs, "_RETRY", gcs._RETRY.with_timeout(2.0))
        for call in (lambda: store.get("a"), lambda: store.put_once("b", b"2"), lambda: list(store.keys(""))):
            with pytest.raises(StoreFailedError) as told:
                call()
            assert not isinstance(told.value, StoreDeniedError)
    proxy.up()
    assert store.get(ref.key) == b"1"
    assert store.size("b") is None


@pytest.mark.parametrize("proxy", ["fake_gcs"], indirect=True)
def test_where_an_upload_goes_on_is_never_told(store, proxy, monkeypatch):
    """Who knows that URL of Google's may write the object."""
    monkeypatch.setattr(gcs, "_RETRY", gcs._RETRY.with_timeout(2.0))
    place = "https://127.0.0.1:1/upload?uploadType=resumable&upload_id=5ec2e7"
    proxy.fault = lambda request: Fault(changed={"Location": place}) if request.method == "POST" else None
    with pytest.raises(StoreFailedError) as told:
        put(store, "large", LARGE)
    assert "5ec2e7" not in str(told.value)
    assert "127.0.0.1" in str(told.value)


def test_rights_that_were_taken_away_are_told(store, proxy):
    store.put_once("a", b"1")
    proxy.fault = lambda _: refused(403, "AuthorizationPermissionMismatch")
    for call in (lambda: store.get("a"), lambda: store.put_once("b", b"2"), lambda: store.size("a")):
        with pytest.raises(StoreDeniedError):
            call()
    with pytest.raises(StoreDeniedError):
        put(store, "large", LARGE)


def test_a_bucket_that_is_not_there_is_no_empty_store(proxy, tmp_path):
    place = proxy.upstream.place("fedloom-absent")
    store = open_store(place, proxy.upstream.credentials(tmp_path / "credentials"))
    for call in (lambda: list(store.keys("")), lambda: store.put_once("a", b"1"), lambda: put(store, "large", LARGE)):
        with pytest.raises(UnfitStoreError):
            call()


def test_a_key_that_is_exchanged_is_taken_up_without_a_restart(azurite, tmp_path, monkeypatch):
    folder = azurite.credentials(tmp_path / "credentials", key="d3Jvbmc=")
    store = open_store(azurite.place(), folder)
    with pytest.raises(StoreDeniedError):
        store.put_once("a", b"1")
    azurite.credentials(folder)
    monkeypatch.setattr(credentials, "_LOOK_AGAIN_S", 0.0)
    store.put_once("a", b"1")
    assert store.get("a") == b"1"
