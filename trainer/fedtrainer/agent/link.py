"""Kept-alive HTTPS connections for small messages to one hub, by the parser of http.client. Used by transport.py.

A connection is one caller's at a time: the questions and the watch of a training have one each. Big bodies have a
connection of their own (stream.py). No redirects, no proxies; the hub alone is spoken to, by its own CA (hub_context.py).
"""

import contextlib
import http.client
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

from fedapi.https_server import HttpsServer
from fedtrainer.agent.patience import RetryError

CONNECT_S, SEND_S = 5.0, 60.0
IDLE = 4  # connections that are kept
LONGEST_ANSWER_BYTES = 4 << 20  # an order with the largest model that may come in it has 1.4 MiB


class Link:
    """Connections to the server of a URL. Used from several threads."""

    def __init__(self, url: str, context: Callable[[], ssl.SSLContext]) -> None:
        """`context`: by what the server is verified now; connections that were made with another one are not kept."""
        self._server = HttpsServer.of(url)
        self._path = urlsplit(url).path.rstrip("/")
        self._context = context
        self._idle: list[ssl.SSLSocket] = []
        self._lock = threading.Lock()

    def post(self, path: str, headers: Mapping[str, str], body: bytes, answer_s: float) -> tuple[int, bytes]:
        """Status and body of the answer. RetryError when there is none, or a pause in it is longer than `answer_s`."""
        fields = {"Host": self._server.authority, **headers, "Content-Length": str(len(body))}
        lines = (f"POST {self._path}{path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", "")
        request = "\r\n".join(lines).encode("latin-1") + body  # in one piece: one record of TLS, one packet
        try:
            with self._connection() as connection:
                return self._exchanged(connection, request, answer_s)
        except (OSError, http.client.HTTPException) as error:
            raise RetryError(f"{type(error).__name__}: {error}") from error

    def close(self) -> None:
        """Hangs up. Connections in use end with their callers."""
        while (connection := self._taken()) is not None:
            connection.close()

    @contextmanager
    def _connection(self) -> Iterator[ssl.SSLSocket]:
        """A kept connection that is still open, or a new one. Whoever does not keep it, closes it."""
        context = self._context()
        while (connection := self._taken()) is not None and (hung_up(connection) or connection.context is not context):
            connection.close()
        connection = connection or self._connected(context)
        try:
            yield connection
        except BaseException:
            connection.close()
            raise

    def _exchanged(self, connection: ssl.SSLSocket, request: bytes, answer_s: float) -> tuple[int, bytes]:
        connection.settimeout(SEND_S)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # refused early: the answer may be there
            connection.sendall(request)
        connection.settimeout(answer_s)
        with http.client.HTTPResponse(connection, method="POST") as response:
            response.begin()
            answer = response.read(LONGEST_ANSWER_BYTES)
            is_over = response.isclosed() and not response.will_close
            if response.length:
                missing = "too long" if len(answer) == LONGEST_ANSWER_BYTES else "cut off"
                raise http.client.HTTPException(f"the answer is {missing}")
        if not is_over or not self._kept(connection):
            connection.close()
        return response.status, answer

    def _connected(self, context: ssl.SSLContext) -> ssl.SSLSocket:
        raw = socket.create_connection(self._server, timeout=CONNECT_S)
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return context.wrap_socket(raw, server_hostname=self._server.host)
        except BaseException:
            raw.close()
            raise

    def _taken(self) -> ssl.SSLSocket | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _kept(self, connection: ssl.SSLSocket) -> bool:
        with self._lock:
            is_room = len(self._idle) < IDLE
            if is_room:
                self._idle.append(connection)
        return is_room


def hung_up(connection: socket.socket) -> bool:
    """Whether the server closed an idle connection: there is something to read, the end."""
    poll = select.poll()  # unlike select.select, of any number: a task may hold thousands of files open
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(0))
