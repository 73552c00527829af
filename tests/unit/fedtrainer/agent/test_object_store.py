"""Models from, and updates to, an object store that another CA has signed: a real TLS server that answers as stores do."""

import hashlib
import logging
import os
import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fedapi import names
from fedapi.wire.download import Download
from fedapi.wire.message import ObjectRef
from fedapi.wire.site import UploadGrant
from fedtrainer.agent.bulk import Bulk
from fedtrainer.agent.patience import Patience, RetryError
from fedtrainer.agent.stream import Stream
from fedtrainer.agent.trust import Trust
from fedtrainer.errors import AggregatorLostError, GoneError, LinkExpiredError
from fedtrainer.settings import HubSettings
from tests.integration.fedaggregator.harness import certificates

DATA = b"x" * (1 << 20)
SHA256 = hashlib.sha256(DATA).hexdigest()
SECRET = "X-Amz-Signature=5ec2e7"
EXPIRED = b"<?xml?><Error><Code>AccessDenied</Code><Message>Request has expired</Message><StringToSign>5ec2e7</StringToSign></Error>"


class Store(ThreadingHTTPServer):
    """Answers as it is told, and notes what it was sent."""

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), _Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / names.FILE_TLS_CERT, folder / names.FILE_TLS_KEY)
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"https://localhost:{self.server_address[1]}/bucket/key?{SECRET}"
        self.answers: list[tuple[int, bytes]] = []
        self.missing, self.garbled = 0, False  # of a body: bytes that do not come; what comes instead
        self.seen: list[tuple[str, dict[str, str], bytes]] = []

    def handle_error(self, *_):
        pass


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _answer(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.seen.append((self.command, [(k.lower(), v) for k, v in self.headers.items()], body))
        status, content = self.server.answers.pop(0)
        self.send_response(status)
        self.send_header("content-length", str(len(content) + self.server.missing))
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = self.server.missing > 0
        if self.server.garbled:  # what no record of TLS is
            self.wfile.flush()
            with socket.socket(fileno=os.dup(self.connection.fileno())) as connection:
                connection.sendall(b"x" * 100)

    do_GET = do_PUT = _answer  # noqa: N815 - named by http.server

    def log_message(self, *_):
        pass


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


@pytest.fixture
def bulk(tmp_path):
    certificates(tmp_path / "hub")
    values = {"entrypoint": "a:b", "job": "j", "job_uid": "u", "credentials_dir": tmp_path / "hub"}
    stream = Stream(Trust(HubSettings.model_validate({**values, "aggregator_url": "https://hub.example"})))
    yield Bulk(stream, Patience(0.0))
    stream.close()


def grant(store, ca, **headers):
    ref = ObjectRef(key="updates/x", sha256=SHA256, size=len(DATA))
    return UploadGrant(url=store.url, headers=headers, expires_at=1.0, object=ref, ca=ca)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "update"
    path.write_bytes(DATA)
    return path


def test_what_is_signed_is_sent_as_it_is_and_once(store, ca, bulk, file):
    store.answers = [(200, b"")]
    signed = {"Content-Length": str(len(DATA)), "If-None-Match": "*", "x-amz-checksum-sha256": "abc="}
    bulk.upload(file, grant(store, ca, **signed))
    ((method, headers, body),) = store.seen
    assert (method, body) == ("PUT", DATA)
    assert {name: value for name, value in headers if name not in ("host", "accept-encoding")} == {
        name.lower(): value for name, value in signed.items()
    }
    assert len(headers) == len(dict(headers))


def test_an_object_that_is_there_already_is_uploaded(store, ca, bulk, file):
    store.answers = [(412, b"<Error><Code>PreconditionFailed</Code></Error>")]
    bulk.upload(file, grant(store, ca))


def test_an_answer_that_breaks_off_after_it_said_that_all_is_well_is_no_failure(store, ca, bulk, file):
    store.answers, store.missing = [(200, b"<Put"), (200, b"")], 100
    bulk.upload(file, grant(store, ca))
    store.missing = 0
    bulk.upload(file, grant(store, ca))


@pytest.mark.parametrize("garbled", [False, True])
def test_a_model_that_breaks_off_is_asked_for_again(tmp_path, store, ca, bulk, garbled):
    store.answers, store.missing, store.garbled = [(200, DATA[:1000])] * 5, len(DATA) - 1000, garbled
    with pytest.raises(AggregatorLostError, match="SSL" if garbled else "bytes are missing"):
        bulk.download(Download(url=store.url, sha256=SHA256, size=len(DATA), expires_at=1.0, ca=ca), tmp_path / "model")


@pytest.mark.parametrize(
    ("status", "body", "error", "said"),
    [
        (403, EXPIRED, LinkExpiredError, "HTTP 403 AccessDenied"),
        (400, b"<Error><Code>ExpiredToken</Code></Error>", LinkExpiredError, "HTTP 400 ExpiredToken"),
        (404, b"", GoneError, "HTTP 404"),
        (401, b"no XML \xff", LinkExpiredError, "HTTP 401"),
        (413, b"<Code>" + b"x" * 100 + b"</Code>", LinkExpiredError, "HTTP 413"),
        (307, b"", LinkExpiredError, "HTTP 307"),
        (409, b"<Error><Code>ConditionalRequestConflict</Code></Error>", RetryError, "HTTP 409"),
        (503, b"<Error><Code>SlowDown</Code></Error>", RetryError, "HTTP 503 SlowDown"),
        (500, b"", RetryError, "HTTP 500"),
    ],
)
def test_what_a_store_refuses_is_asked_for_anew(store, ca, bulk, file, status, body, error, said):
    store.answers = [(status, body)]
    with pytest.raises(error) as told:
        bulk.upload(file, grant(store, ca))
    assert str(told.value) == f"the object store answers {said}" + (
        " ConditionalRequestConflict" if status == 409 else ""
    )


def test_a_model_is_fetched_by_the_ca_that_the_hub_tells(tmp_path, store, ca, bulk):
    store.answers = [(200, DATA)]
    what = Download(url=store.url, sha256=SHA256, size=len(DATA), expires_at=1.0, ca=ca)
    bulk.download(what, tmp_path / "model")
    assert (tmp_path / "model").read_bytes() == DATA
    certificates(tmp_path / "other")
    other = what.model_copy(update={"ca": (tmp_path / "other" / names.FILE_CA).read_text()})
    with pytest.raises(
        AggregatorLostError, match="CERTIFICATE_VERIFY_FAILED"
    ):  # the kept connection is not taken for it
        bulk.download(other, tmp_path / "model")


def test_ranges_of_a_model_go_to_their_places(tmp_path, store, ca, bulk):
    what = Download(url=store.url, sha256=SHA256, size=len(DATA), expires_at=1.0, ca=ca)
    (tmp_path / "model").write_bytes(bytes(20))
    store.answers = [(206, b"abc"), (206, b"defgh")]
    assert bulk.fill(what, tmp_path / "model", [(1, 4), (10, 15)])
    assert (tmp_path / "model").read_bytes() == b"\0abc" + bytes(6) + b"defgh" + bytes(5)
    assert [dict(headers)["range"] for _, headers, _ in store.seen] == ["bytes=1-3", "bytes=10-14"]
    store.answers = [(200, DATA)]
    assert not bulk.fill(what, tmp_path / "model", [(1, 4)]), "a store that gives whole objects alone"
    store.answers = [(403, EXPIRED)]
    with pytest.raises(LinkExpiredError, match="AccessDenied"):
        bulk.fill(what, tmp_path / "model", [(1, 4)])
    store.answers, store.missing = [(206, b"ab")] * 5, 1
    with pytest.raises(AggregatorLostError, match="1 of 3 bytes are missing"):
        bulk.fill(what, tmp_path / "model", [(1, 4)])


@pytest.mark.parametrize("ca", ["no certificate", "\N{SNOWMAN}"])
def test_a_ca_that_is_none_is_told(tmp_path, bulk, ca):
    what = Download(url="https://store/x", sha256=SHA256, size=1, expires_at=1.0, ca=ca)
    with pytest.raises(LinkExpiredError, match="CA certificates, as the hub tells them, cannot be read"):
        bulk.download(what, tmp_path / "model")


def test_no_url_is_in_an_error_or_a_log(store, ca, bulk, file, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    store.answers = [(503, EXPIRED), (403, EXPIRED)]
    said = []
    for url in (store.url, store.url, store.url + " \n"):
        what = Download(url=url, sha256=SHA256, size=1, expires_at=1.0, ca=ca)
        with pytest.raises((AggregatorLostError, LinkExpiredError)) as told:
            bulk.download(what, tmp_path / "model")
        said.append(str(told.value) + repr(told.value.__cause__))
    with pytest.raises(LinkExpiredError) as told:
        bulk.upload(file, grant(store, ca, **{"x-token": f"{SECRET}\n"}))
    assert "5ec2e7" not in "".join((*said, str(told.value), caplog.text))
