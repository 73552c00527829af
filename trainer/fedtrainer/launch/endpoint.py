"""HTTP with a bearer token for the generation service: who asks, bounded bodies, bounded connections. For service.py.

Requests are POSTs of JSON. What they mean is the business of the `Answer` that is handed in.
"""

import hmac
import logging
import select
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn

from pydantic import ValidationError

from fedapi import names
from fedapi.wire.message import Message
from fedtrainer.errors import BadSettingsError, TrainerError

log = logging.getLogger(__name__)

LARGEST_REQUEST = 16 * 1024  # bytes
READ_S = 20.0  # for a request to arrive

Gone = Callable[[], bool]  # whether the asker has closed its connection


@dataclass(frozen=True)
class Reply:
    """What to answer, and what to do once it is sent."""

    message: Message
    sent: Callable[[], None] = lambda: None


Answer = Callable[[str, bytes, Gone], Reply | None]  # path and body; None: no such path


class UnfitError(TrainerError):
    """The request does not fit this ring."""


class _Handler(BaseHTTPRequestHandler):
    """One connection of a launcher."""

    protocol_version = "HTTP/1.1"
    timeout = READ_S

    def __init__(self, token: str, answer: Answer, *call: object) -> None:
        self._token = f"Bearer {token}".encode()
        self._answer = answer
        super().__init__(*call)  # type: ignore[arg-type]

    def do_POST(self) -> None:  # the name is http.server's
        """Checks who asks and what, and answers."""
        given = self.headers.get("Authorization", "").encode("latin-1", "replace")
        if not hmac.compare_digest(given, self._token):
            return self._refuse(HTTPStatus.UNAUTHORIZED, "the token is not this site's")
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or len(length) > 9 or int(length) > LARGEST_REQUEST:
            return self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {LARGEST_REQUEST} bytes")
        try:
            reply = self._answer(self.path, self.rfile.read(int(length)), self._gone)
        except ValidationError as error:
            return self._refuse(HTTPStatus.BAD_REQUEST, f"{error.error_count()} fields are wrong")
        except UnfitError as error:
            return self._refuse(HTTPStatus.CONFLICT, str(error))
        if reply is None:
            return self._refuse(HTTPStatus.NOT_FOUND, "no such path")
        self._send(HTTPStatus.OK, "application/json", reply.message.model_dump_json())
        return reply.sent()

    def _gone(self) -> bool:
        """Whether the asker has closed its connection."""
        readable, _, _ = select.select([self.connection], [], [], 0)
        try:
            return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)
        except OSError:
            return True

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self.close_connection = True  # the body, if any, is not read
        self._send(status, "text/plain", why)

    def _send(self, status: HTTPStatus, kind: str, text: str) -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
        """Long polls are no news."""
        log.debug(format, *args)


class _Server(ThreadingMixIn, TCPServer):
    """A thread per connection, and a bound on their number."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128
    slots: threading.Semaphore

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        """Closes a connection above the bound: its owner tries again."""
        if self.slots.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        """Serves, then frees the slot."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.slots.release()

    def handle_error(self, _request: object, client_address: object) -> None:
        """A broken connection is its owner's matter."""
        log.debug("connection of %s has broken", client_address)


class _DualServer(_Server):
    """IPv6 and IPv4 at once."""

    address_family = socket.AF_INET6

    def server_bind(self) -> None:
        """Takes IPv4 too, whatever the system's default."""
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


def listen(port: int, token: str, answer: Answer, connections: int) -> TCPServer:
    """A server at all of the pod's addresses, whatever their family; it serves once serve_forever is called."""
    handler = partial(_Handler, token, answer)
    try:
        server: _Server = _DualServer(("::", port), handler)
    except OSError:  # no IPv6 here
        try:
            server = _Server(("0.0.0.0", port), handler)  # noqa: S104 - the pod's network is the site's
        except OSError as error:
            raise BadSettingsError(f"{names.ENV_RING_PORT}: port {port} of the generation service: {error}") from error
    server.slots = threading.Semaphore(connections)
    return server
