"""What can happen between a site and the aggregator: a line that refuses, drops, delays, answers and changes bytes.

It ends TLS on both sides with the aggregator's own certificate and hands every request on as it is, unless a test has
planned a fault for it; it notes what was asked and what was answered. Used by the tests of both sides.
"""

import base64
import contextlib
import http.client
import json
import socket
import ssl
import threading
import time
from collections import defaultdict, deque
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

from fedapi import names
from tests.waiting import PATIENCE_S

ROUTES = (
    "next",
    "uploads",
    "updates",
    "evaluations",
    "failures",
    "entrust",
    "recall",
    "get",
    "put",
)  # the last two are bytes by URL


@dataclass(frozen=True)
class Answer:
    """An error of the aggregator, or of what is in front of it, that the aggregator itself knows nothing of."""

    status: int
    code: str = "Stopping"


@dataclass(frozen=True)
class Cut:
    """The connection ends: before the request is heard, after it was done, or in the middle of its answer."""

    when: Literal["before", "after", "within"]


@dataclass(frozen=True)
class Delay:
    """The request arrives late."""

    seconds: float


@dataclass(frozen=True)
class Held:
    """The request arrives when the test lets it."""

    let: threading.Event


@dataclass(frozen=True)
class Changed:
    """Other bytes arrive, in the request's body or in the answer's."""

    part: Literal["request", "answer"]


@dataclass(frozen=True)
class Spoilt:
    """Other bytes arrive inside a message that is whole: those of the model, or of the update, that came in it."""

    part: Literal["request", "answer"]


@dataclass(frozen=True)
class Newer:
    """The answer says more than this version knows: what a newer aggregator may do."""


Fault = Answer | Cut | Delay | Held | Changed | Spoilt | Newer


@dataclass(frozen=True)
class Exchange:
    """A request and its answer, as the aggregator heard and gave them."""

    route: str
    method: str
    path: str
    authorization: str | None
    said: bytes
    status: int
    answer: bytes

    @property
    def message(self) -> Any:
        """What the site said."""
        return json.loads(self.said)


class Line:
    """The address that sites know. `faults` come true one after the other, each for one request of its route."""

    def __init__(self, credentials: Path, port: int) -> None:
        """`port` is the aggregator's; it need not listen yet."""
        self.port, self.refuses = port, False
        self.exchanges: list[Exchange] = []
        self._faults: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self.trusts = ssl.create_default_context(cafile=str(credentials / names.FILE_CA))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(credentials / names.FILE_TLS_CERT, credentials / names.FILE_TLS_KEY)
        handler = type("Handler", (_Handler,), {"line": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"https://127.0.0.1:{self._server.server_address[1]}"
        serve = {"poll_interval": 0.05}
        threading.Thread(target=self._server.serve_forever, kwargs=serve, name="line", daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def plan(self, route: str, *faults: Fault) -> None:
        """The next requests of a route meet these."""
        assert route in ROUTES
        self._faults[route].extend(faults)

    def mend(self) -> None:
        """Nothing more happens to requests that come from now on."""
        self._faults.clear()
        self.refuses = False

    @property
    def left(self) -> list[Fault]:
        """Faults that have met no request."""
        return [fault for faults in self._faults.values() for fault in faults]

    def took(self, route: str) -> list[Any]:
        """Messages of a route that the aggregator has taken, in order."""
        return [e.message for e in tuple(self.exchanges) if e.route == route and e.status // 100 == 2]

    def fault(self, route: str) -> Fault | None:
        faults = self._faults[route]
        with contextlib.suppress(IndexError):
            return faults.popleft()
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    line: Line

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # the site hung up
            if not self.line.refuses:
                super().handle()

    def log_message(self, *args: Any) -> None:
        pass

    def _request(self) -> None:
        route = self.command.lower() if not self.path.startswith("/v1/sites") else self.path.split("/")[4]
        fault = self.line.fault(route)
        if self.line.refuses or fault == Cut("before"):
            self._cut()
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if isinstance(fault, Answer):
            text = json.dumps({"code": fault.code, "message": "planned by the test"}).encode()
            self._answer(fault.status, text)
            return
        if isinstance(fault, Delay):
            time.sleep(fault.seconds)
        if isinstance(fault, Held):
            assert fault.let.wait(PATIENCE_S), "the test never let it"
        body = _met(body, "request", fault)
        try:
            status, answer = self._handed_on(body)
        except (OSError, http.client.HTTPException):
            self._cut()
            return
        auth = self.headers.get("Authorization")
        self.line.exchanges.append(Exchange(route, self.command, self.path, auth, body, status, answer))
        if fault == Cut("after"):
            self._cut()
            return
        self._answer(status, _met(answer, "answer", fault), fault == Cut("within"))

    do_GET = do_PUT = do_POST = _request  # noqa: N815 - http.server names them

    def _handed_on(self, body: bytes) -> tuple[int, bytes]:
        upstream = http.client.HTTPSConnection(
            "127.0.0.1", self.line.port, context=self.line.trusts, timeout=PATIENCE_S
        )
        kept = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection", "content-length")}
        with contextlib.closing(upstream):
            upstream.request(self.command, self.path, body if self.command != "GET" else None, kept)
            response = upstream.getresponse()
            return response.status, response.read()

    def _answer(self, status: int, body: bytes, within: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if within else body)
        if within:
            self._cut()

    def _cut(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


def _met(body: bytes, part: Literal["request", "answer"], fault: Fault | None) -> bytes:
    """What arrives of it."""
    if fault == Changed(part):
        return _changed(body)
    if fault == Spoilt(part):
        return _spoilt(body)
    return json.dumps(_newer(json.loads(body))).encode() if part == "answer" and fault == Newer() else body


def _newer(value: Any) -> Any:
    """With a field more in every object; headers are no message."""
    if not isinstance(value, dict):
        return value
    return {"newer": {"field": 1}} | {k: v if k == "headers" else _newer(v) for k, v in value.items()}


def _spoilt(message: bytes) -> bytes:
    """With the last byte of what comes in it changed."""
    said = json.loads(message)
    holder, name = (said["train"]["model"], "content") if "train" in said else (said["content"], "update")
    data = base64.b64decode(holder[name])
    holder[name] = base64.b64encode(data[:-1] + bytes([data[-1] ^ 0xFF])).decode()
    return json.dumps(said).encode()


def _changed(body: bytes) -> bytes:
    return body[:-4] + bytes(byte ^ 0xFF for byte in body[-4:])
