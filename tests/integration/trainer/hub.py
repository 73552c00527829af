"""A small aggregator over real HTTPS that speaks fedapi.wire.site: enough to test a trainer program against.

It averages nothing: it hands out one scripted assignment after another, verifies and keeps what it gets, and
can be told to answer any route with an error first. Used by the tests beside it.
"""

import contextlib
import datetime as dt
import hashlib
import ipaddress
import json
import socket
import ssl
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fedapi.wire.job import TrainingSettings
from fedapi.wire.message import ObjectRef
from fedapi.wire.site import (
    Assignment,
    Download,
    EvaluateOrder,
    EvaluationReport,
    FailureReport,
    NextRequest,
    Receipt,
    TrainOrder,
    UpdateEnvelope,
    UpdateManifest,
    UploadGrant,
    UploadRequest,
)

TOKEN = "a" * 64
DONE = Assignment(kind="Done", message="finished")


def certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hub")])
    now = dt.datetime.now(dt.UTC)
    cert = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "ca.crt", folder / "tls.key"
    cert_file.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert_file, key_file


class Hub:
    """`script` holds assignments to hand out; when it is empty a question waits, or is answered Done after `finish`."""

    def __init__(self, folder: Path, port: int = 0, identity: tuple[bytes, bytes] | None = None) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.script: deque[Assignment] = deque()
        self.errors: dict[str, deque[tuple[int, str]]] = {}  # route -> answers (status, code) given first
        self.updates: list[tuple[UpdateManifest, bytes]] = []
        self.evaluations: list[EvaluationReport] = []
        self.failures: list[FailureReport] = []
        self.requests: list[tuple[str, str]] = []
        self.auth: list[tuple[str, str | None]] = []
        self.drop: tuple[int, int] | None = None
        self.finished = False
        self.nonces: set[str] = set()
        self.connections: list[socket.socket] = []
        self._blobs: dict[str, Path] = {}
        self._cond = threading.Condition()
        self.ca, key = certificate(folder)
        if identity is not None:
            self.ca.write_bytes(identity[0])
            key.write_bytes(identity[1])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.ca, key)
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._server.daemon_threads = True
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"https://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the server and cuts its connections, as a killed process would."""
        self._server.shutdown()
        self._server.server_close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def blob(self, path: Path) -> Download:
        """Offers a file."""
        content = path.read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        self._blobs[sha256] = path
        return Download(url=f"{self.url}/blobs/{sha256}", sha256=sha256, size=len(content), expires_at=time.time() + 60)

    def give(self, *assignments: Assignment) -> None:
        with self._cond:
            self.script.extend(assignments)
            self._cond.notify_all()

    def train(
        self, round_: int, model: Path, *, attempt: int = 1, evaluate: bool = False, seed: int = 7, **training: Any
    ) -> None:
        order = TrainOrder(
            round=round_,
            attempt=attempt,
            model=self.blob(model),
            evaluate=evaluate,
            deadline=time.time() + 600,
            seed=seed,
            training=TrainingSettings(**training),
        )
        self.give(Assignment(kind="Train", train=order))

    def evaluate(self, round_: int, model: Path, **training: Any) -> None:
        order = EvaluateOrder(round=round_, model=self.blob(model), training=TrainingSettings(**training))
        self.give(Assignment(kind="Evaluate", evaluate=order))

    def finish(self) -> None:
        with self._cond:
            self.finished = True
            self._cond.notify_all()

    def fail_first(self, route: str, *answers: tuple[int, str]) -> None:
        self.errors[route] = deque(answers)

    def next(self, request: NextRequest) -> Assignment:
        deadline = time.monotonic() + request.wait_s
        with self._cond:
            while True:
                if request.doing is not None:
                    if self.drop == request.doing:
                        return Assignment(kind="Drop", message="quorum reached")
                elif self.script:
                    return self.script.popleft()
                elif self.finished:
                    return DONE
                left = deadline - time.monotonic()
                if left <= 0:
                    return Assignment(kind="Wait")
                self._cond.wait(min(left, 0.05))

    def upload(self, request: UploadRequest) -> UploadGrant:
        key = f"updates/{request.round}-{request.attempt}-{request.sha256}"
        ref = ObjectRef(key=key, sha256=request.sha256, size=request.size)
        return UploadGrant(url=f"{self.url}/put/{request.sha256}", expires_at=time.time() + 60, object=ref)

    def take(self, manifest: UpdateManifest) -> Receipt:
        duplicate = manifest.nonce in self.nonces
        self.nonces.add(manifest.nonce)
        if not duplicate:
            content = (self.folder / manifest.payloads["update"].object.sha256).read_bytes()
            self.updates.append((manifest, content))
        return Receipt(duplicate=duplicate)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def setup(self) -> None:
        super().setup()
        self.hub.connections.append(self.connection)

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # the trainer hung up, or close() cut the connection
            super().handle()

    def log_message(self, *args: Any) -> None:
        pass

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _route(self) -> str:
        self.hub.requests.append((self.command, self.path))
        self.hub.auth.append((self.path, self.headers.get("Authorization")))
        return self.path.split("/")[1] if not self.path.startswith("/v1") else self.path.split("/")[4]

    def _refused(self, route: str) -> bool:
        answers = self.hub.errors.get(route)
        if not answers:
            return False
        status, code = answers.popleft()
        self._answer(status, json.dumps({"code": code, "message": "scripted"}).encode())
        return True

    def do_POST(self) -> None:
        route = self._route()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self._refused(route):
            return
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._answer(401, b'{"code": "Unauthorized", "message": "unknown token"}')
            return
        hub = self.hub
        if route == "next":
            answer = hub.next(NextRequest.model_validate_json(body))
        elif route == "uploads":
            answer = hub.upload(UploadRequest.model_validate_json(body))
        elif route == "updates":
            answer = hub.take(UpdateEnvelope.model_validate_json(body).body)
        elif route == "evaluations":
            hub.evaluations.append(EvaluationReport.model_validate_json(body))
            answer = Receipt()
        else:
            hub.failures.append(FailureReport.model_validate_json(body))
            answer = Receipt()
        self._answer(200, answer.model_dump_json().encode())

    def do_GET(self) -> None:
        if not self._refused(self._route()):
            self._answer(200, self.hub._blobs[self.path.split("/")[2]].read_bytes())

    def do_PUT(self) -> None:
        route = self._route()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self._refused(route):
            return
        sha256 = self.path.split("/")[2]
        if hashlib.sha256(body).hexdigest() != sha256:
            self._answer(422, b'{"code": "WrongDigest", "message": "other bytes"}')
            return
        (self.hub.folder / sha256).write_bytes(body)
        self._answer(204, b"")
