"""A guest's agent and a verifier that stand in for hardware: evidence is JSON, and an EAR is signed by a key of the test's.

They speak the interfaces that the real ones do (Confidential Containers' api-server-rest, Trustee's Attestation Service), over
real connections. What a fault changes is said by name, so that a test reads as the attack that it plays.
"""

import base64
import json
import ssl
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fedapi import names
from fedapi.wire.attestation import Demand, Measurement, Verifier

MEASUREMENT = "5a" * 48  # of the program that the sites trust
KEY, OTHER_KEY = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
PUBLIC_KEY = (
    KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
)


def report(report_data: str, measurement: str = MEASUREMENT, tee: str = "snp") -> dict:
    """What fake hardware reports; a verifier repeats it as claims."""
    return {
        "report_data": report_data.encode().hex(),
        "init_data": "00" * 32,
        tee: {"measurement": measurement, "debug": False},
    }


def ear(evidence: dict, *, status: str = "affirming", key=KEY, now: float | None = None, **more) -> str:
    """A verifier's answer."""
    now = time.time() if now is None else now
    appraisal = {"ear.status": status, "ear.veraison.annotated-evidence": evidence}
    claims = {"iat": int(now), "nbf": int(now), "exp": int(now) + 300, "submods": {"cpu0": appraisal}}
    return jwt.encode(claims | more, key, algorithm="ES256")


class Server:
    """One server in a thread, gone when the test is."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        ours = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                self._answer(ours.answer(self.path, b"", self.headers))

            def do_POST(self):
                self._answer(ours.answer(self.path, self.rfile.read(int(self.headers["Content-Length"])), self.headers))

            def _answer(self, said: tuple[int, bytes]):
                self.send_response(said[0])
                self.send_header("Content-Length", str(len(said[1])))
                self.end_headers()
                self.wfile.write(said[1])

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if context is not None:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self._thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self._thread.start()

    def answer(self, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        raise NotImplementedError

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


class FakeAgent(Server):
    """The guest's agent. `stale`: it gives the first evidence again, whatever the nonce."""

    def __init__(self, measurement: str = MEASUREMENT) -> None:
        self.measurement, self.stale, self.down = measurement, False, False
        self.asked: list[str] = []
        super().__init__()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/aa/evidence"

    def answer(self, path: str, _body: bytes, _headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
        if self.down:
            return 500, b"no device"
        (report_data,) = parse_qs(urlsplit(path).query)["runtime_data"]
        self.asked.append(report_data)
        return 200, json.dumps(report(self.asked[0] if self.stale else report_data, self.measurement)).encode()


class FakeVerifier(Server):
    """Affirms what fake hardware reports, if its report data are those that were asked about.

    `garbage`: what it answers in place of an EAR. `down`: HTTP 503. `status`, `key`: of its EAR. `careless`: it does not compare.
    """

    def __init__(self, credentials: Path) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(credentials / names.FILE_TLS_CERT, credentials / names.FILE_TLS_KEY)
        self.ca = (credentials / names.FILE_CA).read_text()
        self.garbage: bytes | None = None
        self.down, self.careless, self.status, self.key = False, False, "affirming", KEY
        self.asked: list[dict] = []
        super().__init__(context)

    def answer(self, _path: str, body: bytes, _headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
        self.asked.append(json.loads(body))
        if self.down:
            return 503, b"starting"
        if self.garbage is not None:
            return 200, self.garbage
        (one,) = self.asked[-1]["verification_requests"]
        evidence, wanted = json.loads(_decoded(one["evidence"])), _decoded(one["runtime_data"]["raw"])
        if not self.careless and evidence["report_data"] != wanted.hex():
            return 200, ear(evidence, status="contraindicated", key=self.key).encode()
        return 200, ear(evidence, status=self.status, key=self.key).encode()

    def told(self) -> Verifier:
        return Verifier(url=f"https://localhost:{self.port}/attestation", public_key=PUBLIC_KEY, ca=self.ca)

    def demand(self, *values: str, tees=("SEV-SNP",)) -> Demand:
        measured = (Measurement(claim="snp.measurement", values=values or (MEASUREMENT,)),)
        return Demand(tees=tees, verifier=self.told(), measurements=measured)


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
