"""A proxy with TLS before a server of tests that can do what networks and stores do: fail, be slow, lie, lose an answer, be down.

`fault` is asked for each request, in its thread; None lets it through. The requests that came are in `seen`. A header
that is signed can only be changed before a server that checks no signatures (moto.py).
"""

import http.client
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from tests import certificates
from tests.ports import free_port
from tests.servers.s3server import S3Server

_BLOCK_BYTES = 64 << 10
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding"})


@dataclass(frozen=True)
class Request:
    """What a client asked for."""

    method: str
    target: str  # path and query
    headers: Mapping[str, str]  # in lower case


@dataclass(frozen=True)
class Fault:
    """What becomes of a request."""

    status: int = 0  # answered in the server's place, with this code of an S3 error
    code: str = ""
    lost_answer: bool = False  # the server does it, and the connection ends
    cut_after: int | None = None  # bytes of the answer's body
    held: threading.Event | None = None  # the answer waits for it
    without: frozenset[str] = frozenset()  # headers that the server does not get, in lower case
    changed: Mapping[str, str] = field(default_factory=dict)  # headers of the answer
    body: bytes | None = None  # of the answer


def refused(status: int, code: str) -> Fault:
    """An S3 error."""
    return Fault(status, code)


@dataclass
class Faulty:
    """One proxy; its server as clients see it through the proxy is `server`."""

    upstream: S3Server
    folder: Path
    port: int
    server: S3Server
    fault: Callable[[Request], Fault | None] = lambda _: None
    seen: list[Request] = field(default_factory=list)
    _listener: "_Listener | None" = None

    def up(self) -> None:
        """Takes connections."""
        self._listener = _Listener(self)
        threading.Thread(target=self._listener.serve_forever, args=(0.05,), daemon=True).start()

    def down(self) -> None:
        """Takes none, and ends those that are open."""
        if self._listener is not None:
            self._listener.shutdown()
            self._listener.server_close()
            self._listener.cut()
            self._listener = None


@contextmanager
def before(upstream: S3Server, folder: Path) -> Iterator[Faulty]:
    """Up inside. Buckets are those of the server behind."""
    folder.mkdir(parents=True)
    certificates.write(folder)
    port = free_port()
    server = replace(upstream, endpoint=f"https://127.0.0.1:{port}", ca=folder / "ca.crt")
    proxy = Faulty(upstream, folder, port, server)
    proxy.up()
    try:
        yield proxy
    finally:
        proxy.down()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, proxy: Faulty) -> None:
        self.proxy = proxy
        self._open: set = set()
        super().__init__(("127.0.0.1", proxy.port), _Handler)
        context = certificates.server_context(proxy.folder)
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def process_request(self, request, client_address):
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request, client_address):
        """A client that goes, or a connection that was cut, is what this is for."""

    def cut(self) -> None:
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(2)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Listener

    def log_message(self, *_):
        """Tests say themselves what they saw."""

    def _do(self):
        request = Request(self.command, self.path, {name.lower(): value for name, value in self.headers.items()})
        proxy = self.server.proxy
        proxy.seen.append(request)
        body = self.rfile.read(int(request.headers.get("content-length", 0)))
        fault = proxy.fault(request) or Fault()
        if fault.status:
            told = f"<Error><Code>{fault.code}</Code><Message>said by a proxy</Message></Error>".encode()
            self._answer(fault, fault.status, {"Content-Type": "application/xml"}, len(told), iter([told]))
            return
        with _asked(proxy.upstream, request, body, fault.without) as answer:
            if fault.lost_answer:
                answer.read()
                self.close_connection = True
                return
            if fault.body is not None:
                answer.read()
                self._answer(fault, answer.status, dict(answer.getheaders()), len(fault.body), iter([fault.body]))
                return
            length = answer.getheader("Content-Length")
            blocks = iter(lambda: answer.read(_BLOCK_BYTES), b"")
            self._answer(
                fault, answer.status, dict(answer.getheaders()), None if length is None else int(length), blocks
            )

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _do  # noqa: N815 - names of http.server

    def _answer(self, fault, status, headers, length, blocks):
        if fault.held is not None:
            fault.held.wait()
        if length is None:
            whole = b"".join(blocks)
            length, blocks = len(whole), iter([whole])
        self.send_response_only(status)
        named = {name.lower(): (name, value) for name, value in headers.items() if name.lower() not in _HOP_BY_HOP}
        named |= {name.lower(): (name, value) for name, value in fault.changed.items()}
        named["content-length"] = ("Content-Length", str(length))
        for name, value in named.values():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        left = fault.cut_after
        for block in blocks:
            self.wfile.write(block if left is None else block[:left])
            if left is not None and (left := left - len(block)) <= 0:
                self.close_connection = True
                return


@contextmanager
def _asked(upstream: S3Server, request: Request, body: bytes, without: frozenset[str]):
    place = urlsplit(upstream.endpoint)
    if upstream.ca is None:
        connection = http.client.HTTPConnection(place.hostname, place.port)
    else:
        context = ssl.create_default_context(cafile=str(upstream.ca))
        connection = http.client.HTTPSConnection(place.hostname, place.port, context=context)
    left_out = without | _HOP_BY_HOP | {"expect"}
    try:
        connection.putrequest(request.method, request.target, skip_host=True, skip_accept_encoding=True)
        for name, value in request.headers.items():
            if name not in left_out:
                connection.putheader(name, value)
        connection.endheaders(body or None)
        yield connection.getresponse()
    finally:
        connection.close()
