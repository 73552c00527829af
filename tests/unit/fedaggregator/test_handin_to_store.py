"""The init step before an object store: a real TLS server that another CA has signed, and what each answer means."""

import io
import ssl
import threading

import pytest

from fedaggregator import handin
from fedapi import names
from fedapi.wire.message import ObjectRef
from fedapi.wire.site import UploadGrant
from tests.integration.fedaggregator.harness import certificates
from tests.unit.fedtrainer.agent.test_object_store import EXPIRED, SECRET, Store

MODEL = b"m" * 4096


@pytest.fixture
def store(tmp_path):
    certificates(tmp_path / "store")
    server = Store(tmp_path / "store")
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def ca(tmp_path, store):
    return (tmp_path / "store" / names.FILE_CA).read_text()


def put(url, ca, **headers):
    hub = handin._Hub("https://hub.example", ssl.create_default_context(), "token")
    ref = ObjectRef(key="models/x", sha256="a" * 64, size=len(MODEL))
    hub.put(UploadGrant(url=url, headers=headers, expires_at=1.0, object=ref, ca=ca), io.BytesIO(MODEL), len(MODEL))


@pytest.mark.parametrize("status", [200, 412])
def test_what_is_signed_is_sent_as_it_is_and_what_is_there_is_fine(store, ca, status):
    store.answers = [(status, b"")]
    put(store.url, ca, **{"If-None-Match": "*", "Content-Length": str(len(MODEL))})
    ((method, headers, body),) = store.seen
    assert (method, body) == ("PUT", MODEL)
    sent = {name: value for name, value in headers if name not in ("host", "accept-encoding")}
    assert sent == {"if-none-match": "*", "content-length": str(len(MODEL))}


@pytest.mark.parametrize("status", [400, 403, 404, 409, 413, 503])
def test_whatever_a_store_refuses_another_grant_is_asked_for(store, ca, status):
    store.answers = [(status, EXPIRED)]
    with pytest.raises(
        handin._AgainError, match=f"the object store answers HTTP {status}: asks for another grant"
    ) as told:
        put(store.url, ca)
    assert SECRET.partition("=")[2] not in str(told.value)


@pytest.mark.parametrize(
    ("url", "ca"), [("https://localhost/x?" + SECRET + " \n", None), ("https://localhost/x", "no PEM")]
)
def test_what_cannot_be_used_is_told_without_the_url(url, ca):
    with pytest.raises(handin._AgainError) as told:
        put(url, ca)
    assert SECRET.partition("=")[2] not in str(told.value)


def test_the_system_s_roots_do_not_speak_for_a_store_of_one_s_own(store):
    with pytest.raises(handin._AgainError, match="CERTIFICATE_VERIFY_FAILED"):
        put(store.url, None)
