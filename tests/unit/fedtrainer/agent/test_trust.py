"""Our CA speaks for the hub and nobody else, the system's roots for everybody else: tried with real TLS servers."""

import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fedapi import names
from fedtrainer.agent.patience import RetryError
from fedtrainer.agent.stream import Stream
from fedtrainer.agent.trust import Trust
from fedtrainer.errors import BadSettingsError
from fedtrainer.settings import HubSettings
from tests.integration.fedaggregator.harness import certificates


class Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Tls(ThreadingHTTPServer):
    """Shows the certificate of a folder; a client that refuses it is no error here."""

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), Answers)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / names.FILE_TLS_CERT, folder / names.FILE_TLS_KEY)
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"https://localhost:{self.server_address[1]}"

    def handle_error(self, *_):
        pass


@pytest.fixture
def served(tmp_path, monkeypatch):
    """Two servers: one whose certificate our CA signed, and one whose CA is among the system's roots."""
    servers = {}
    for name in ("ours", "public"):
        certificates(tmp_path / name)
        servers[name] = Tls(tmp_path / name)
        threading.Thread(target=servers[name].serve_forever, args=(0.05,), daemon=True).start()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "public" / names.FILE_CA))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
    yield {name: server.url for name, server in servers.items()}
    for server in servers.values():
        server.shutdown()
        server.server_close()


def settings(folder, hub: str) -> HubSettings:
    values = {"entrypoint": "a:b", "job": "j", "job_uid": "u", "aggregator_url": hub, "credentials_dir": folder}
    return HubSettings.model_validate(values)


@pytest.mark.parametrize(
    ("hub", "asked", "verified"),
    [
        ("ours", "ours", True),
        ("public", "public", False),  # a public CA does not speak for the hub
        ("ours", "public", True),  # an object store
        ("public", "ours", False),  # our CA does not speak for an object store
    ],
)
def test_who_speaks_for_whom(tmp_path, served, hub, asked, verified):
    stream = Stream(Trust(settings(tmp_path / "ours", served[hub])))
    try:
        if verified:
            response = stream.send("GET", f"{served[asked]}/model?signature=x", {})
            assert response.status == 200
            response.read()
        else:
            with pytest.raises(RetryError, match="CERTIFICATE_VERIFY_FAILED"):
                stream.send("GET", f"{served[asked]}/model?signature=x", {})
    finally:
        stream.close()


@pytest.mark.parametrize("hub", ["https://", "https://hub:no", "https://[hub"])
def test_a_hub_that_is_no_server_is_told(tmp_path, hub):
    certificates(tmp_path)
    with pytest.raises(BadSettingsError, match="aggregator_url 'https://"):
        Trust(settings(tmp_path, hub))


def test_without_a_ca_there_is_no_trust(tmp_path):
    with pytest.raises(BadSettingsError, match=r"ca.crt: .* is not usable .*: mount the Secret"):
        Trust(settings(tmp_path, "https://hub"))
