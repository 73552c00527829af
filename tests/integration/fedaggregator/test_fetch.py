"""The file of task.initialModel is fetched by the process of the init pod: over HTTPS and out of buckets of three clouds."""

import contextlib
import hashlib
import http.server
import os
import subprocess
import sys
import threading

import pytest

from fedapi import names
from fedapi.outcome import Exit
from fedstore.opening import open_store
from tests import certificates

DATA = bytes(range(256)) * 80_000  # 20 MB: several blocks
SHA = hashlib.sha256(DATA).hexdigest()


def fetch(tmp_path, uri, sha256=SHA, credentials=None, patience_s="60", most_bytes=None, **more):
    """Exit code, what was told, and the file."""
    target, log = tmp_path / "import" / "model", tmp_path / "termination-log"
    target.parent.mkdir()
    env = {
        names.ENV_IMPORT_URI: uri,
        names.ENV_IMPORT_SHA256: sha256,
        names.ENV_IMPORT_FILE: str(target),
        names.ENV_TERMINATION_LOG: str(log),
        "FEDLOOM_PATIENCE_S": patience_s,
        "PATH": os.environ["PATH"],
        **more,
    }
    if credentials:
        env[names.ENV_STORE_CREDENTIALS_DIR] = str(credentials)
    command = [sys.executable, "-I", "-B", "-m", "fedaggregator.fetch"]
    if most_bytes is not None:  # as on a disk that is full, for whatever it writes: -B, no bytecode
        command = ["sh", "-c", f'ulimit -f {most_bytes // 512}; exec "$@"', "sh", *command]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    left = [path.name for path in target.parent.iterdir()]
    assert left == (["model"] if done.returncode == 0 else []), "nothing half-fetched is left"
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, log.read_text() if log.exists() else "", target.read_bytes() if left else None


@pytest.mark.parametrize("name", ["seaweedfs", "fake_gcs", "azurite"])
def test_out_of_a_bucket_with_its_credentials(request, tmp_path, name):
    server = request.getfixturevalue(name)
    place, credentials = server.place(), server.credentials(tmp_path / "credentials")
    with open_store(place, credentials).writer("models/first.pt") as writer:
        writer.write(DATA)
        writer.finish()
    path, query = place.split("?", 1)
    code, told, file = fetch(tmp_path, f"{path}/models/first.pt?{query}", credentials=credentials)
    assert (code, told) == (Exit.OK, "")
    assert file == DATA


def test_an_object_that_is_not_there_is_told(azurite, tmp_path):
    path, query = azurite.place().split("?", 1)
    code, told, _ = fetch(
        tmp_path, f"{path}/none.pt?{query}", credentials=azurite.credentials(tmp_path / "credentials")
    )
    assert code == Exit.BAD_SETTINGS
    assert told.startswith("task.initialModel.uri: none.pt: there is no such object")


def test_credentials_that_do_not_do_are_told(azurite, tmp_path):
    path, query = azurite.place().split("?", 1)
    wrong = azurite.credentials(tmp_path / "wrong", key="d3Jvbmc=")
    code, told, _ = fetch(tmp_path, f"{path}/none.pt?{query}", credentials=wrong)
    assert code == Exit.STORE_DENIED
    assert "credentialsSecretRef" in told


class Served(http.server.BaseHTTPRequestHandler):
    """A server of files, as people have them."""

    failures = 0
    nobody = threading.Event()

    def do_GET(self):
        if self.path == "/flaky.pt" and type(self).failures < 2:
            type(self).failures += 1
            self.send_error(503)
        elif self.path in {"/model.pt", "/flaky.pt"}:
            self.send_response(200)
            self.send_header("Content-Length", str(len(DATA)))
            self.end_headers()
            self.wfile.write(DATA)
        elif self.path == "/small.pt":
            self.send_response(200)
            self.send_header("Content-Length", "5000")
            self.end_headers()
            self.wfile.write(DATA[:5000])
        elif self.path == "/broken.pt":
            type(self).failures += 1
            self.send_response(200)
            self.send_header("Content-Length", str(len(DATA)))
            self.end_headers()
            self.wfile.write(DATA if type(self).failures > 1 else DATA[: 9 << 20])  # and hangs up
        elif self.path == "/moved.pt":
            self._redirect(f"https://127.0.0.1:{self.server.server_port}/model.pt")
        elif self.path == "/plain.pt":
            self._redirect(f"http://127.0.0.1:{self.server.server_port}/model.pt")
        elif self.path == "/endless.pt":  # a byte now and then, until nobody reads any more
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):
                while not self.nobody.wait(0.05):
                    self.wfile.write(b"0")
        else:
            self.send_error(404)

    def _redirect(self, to):
        self.send_response(302)
        self.send_header("Location", to)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def https(tmp_path):
    """Base URL, and a folder with the CA."""
    folder = tmp_path / "tls"
    folder.mkdir()
    certificates.write(folder)
    Served.failures = 0
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Served) as server:
        server.socket = certificates.server_context(folder).wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"https://127.0.0.1:{server.server_port}", folder
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("path", ["model.pt", "small.pt"])
def test_a_pod_without_room_is_told(https, tmp_path, path):
    base, ca = https
    code, told, _ = fetch(tmp_path, f"{base}/{path}", credentials=ca, most_bytes=2048)
    assert code == Exit.STORE_FAILED
    assert told.startswith("task.initialModel: no room for the file in the init pod: File too large")


@pytest.mark.parametrize("path", ["model.pt", "moved.pt", "flaky.pt", "broken.pt"])
def test_over_https(https, tmp_path, path):
    base, ca = https
    assert fetch(tmp_path, f"{base}/{path}", credentials=ca) == (Exit.OK, "", DATA)


def test_a_server_that_never_ends_is_given_up(https, tmp_path):
    base, ca = https
    code, told, _ = fetch(tmp_path, f"{base}/endless.pt", credentials=ca, FEDLOOM_IMPORT_WITHIN_S="1")
    assert code == Exit.STORE_FAILED
    assert "not fetched within 1 s" in told


def test_a_file_that_is_too_large_is_not_taken_to_its_end(https, tmp_path):
    base, ca = https
    code, told, _ = fetch(tmp_path, f"{base}/model.pt", credentials=ca, FEDLOOM_IMPORT_MOST_BYTES=str(9 << 20))
    assert code == Exit.BAD_SETTINGS
    assert told.startswith("task.initialModel.uri: it has more than 9437184 bytes")


def test_another_file_is_refused_by_its_digest(https, tmp_path):
    base, ca = https
    code, told, _ = fetch(tmp_path, f"{base}/model.pt", sha256="0" * 64, credentials=ca)
    assert code == Exit.BAD_SETTINGS
    assert (
        told
        == f"task.initialModel.sha256: the file has SHA-256 {SHA} ({len(DATA)} bytes), not {'0' * 64}: nothing was read of it"
    )


@pytest.mark.parametrize(
    ("path", "told"),
    [("none.pt", "the server answers HTTP 404"), ("plain.pt", "redirects to an address that is not https")],
)
def test_what_trying_again_cannot_help_is_told_at_once(https, tmp_path, path, told):
    base, ca = https
    code, text, _ = fetch(tmp_path, f"{base}/{path}", credentials=ca)
    assert (code, told in text) == (Exit.BAD_SETTINGS, True), text


def test_a_certificate_that_nobody_vouches_for_is_not_taken(https, tmp_path):
    code, told, _ = fetch(tmp_path, f"{https[0]}/model.pt", patience_s="0.1")
    assert code == Exit.STORE_FAILED
    assert "CERTIFICATE_VERIFY_FAILED" in told


@pytest.mark.parametrize("uri", ["s3://bucket", "gs://bucket/a key", "ftp://host/file", "memory:x"])
def test_what_names_no_object_is_told(tmp_path, uri):
    code, told, _ = fetch(tmp_path, uri)
    assert code == Exit.BAD_SETTINGS
    assert told.startswith("task.initialModel.uri: ")
