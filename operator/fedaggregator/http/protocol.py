"""HTTP/1.1 with limits: uvicorn's protocol, with bounds on what a request's head may be and how long it may take.

The parser and the ASGI cycle are uvicorn's; here are counts, times and the answers to what is over them. One instance
per connection, made by server.py, above tls.py. Bodies are bounded by who reads them (messages.py, blobs.py).
"""

import asyncio
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, cast

import httptools
from starlette.datastructures import Headers
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from fedaggregator import accesslog, metrics, refusallog
from fedaggregator.accesslog import Call
from fedaggregator.errors import BodyEndedError
from fedaggregator.http.bulk import Bulk
from fedaggregator.http.tls import Tls
from fedaggregator.limits import Limits
from fedaggregator.ports import Shown
from fedapi.wire.site import Refusal

_PIPELINED = 4  # requests that wait for the answer to the one before; sites send none


class Http(HttpToolsProtocol):  # type: ignore[misc]  # uvicorn is not checked
    """One connection's requests."""

    cycle: Any  # of the newest request, which may wait for the answer to one before it
    scope: Any

    def __init__(self, config: Config, server_state: ServerState, limits: Limits) -> None:
        super().__init__(config, server_state, {}, asyncio.get_running_loop())
        self._limits = limits
        self._answered: Any = None  # the cycle of the request whose answer is under way, or was the last
        self._over: tuple[HTTPStatus, str] | None = None  # the limit that the request under way exceeds
        self._in_head, self._whole = True, True  # whether headers are awaited; whether no request has begun to come
        self._bodiless_bytes = 0  # since a request or a part of its body: heads, trailers, what frames chunks
        self._header_bytes = self._headers = 0
        self._until: float | None = None  # when what is awaited from the client has to be there
        self._late = "Header"  # what it is called when it is not
        self._is_site = False

    def connection_made(self, transport: Any) -> None:
        """The first request has to come soon."""
        super().connection_made(transport)
        self._await("Header", self._limits.header_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is kept for it: cycles of objects would wait for the garbage collector."""
        super().connection_lost(exc)
        self.cycle = self.scope = self._answered = None

    def proved(self, site: str) -> None:
        """A request showed that this is a site's connection."""
        self._is_site = True
        cast(Tls, self.transport).proved(site)

    @asynccontextmanager
    async def taken(self, threads: ThreadPoolExecutor) -> AsyncGenerator[Bulk]:
        """The connection in the hands of threads, for a body whose size both sides know. BodyEndedError when it is over.

        The parser sees nothing of such a body: its connection ends with the answer.
        """
        tls = cast(Tls, self.transport)
        try:
            yield await tls.take(threads)
            if self._answered is None:  # it ended with the body's last bytes
                raise BodyEndedError(stalled=False)
            self._answered.expected_content_length = 0
        finally:
            await tls.give_back()

    def answer(self) -> None:
        """What TLS has to say meanwhile."""
        cast(Tls, self.transport).answer()

    def end(self, *, stalled: bool) -> None:
        """The answer cannot go on."""
        cast(Tls, self.transport).end(stalled=stalled)
        if self._answered is not None:
            self._answered.disconnected = True

    def late(self, now: float) -> str:
        """Why it is over; empty when it is not."""
        return self._late if self._until is not None and now > self._until else ""

    def data_received(self, data: bytes) -> None:
        """Feeds the parser; answers what it, or a limit, refuses."""
        self._unset_keepalive_if_required()
        self._bodiless_bytes += len(data)
        if self._in_head and self._late == "Idle":
            self._await("Header", self._limits.header_s)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.cycle.keep_alive = False  # nothing is upgraded: the request is answered as it is
        except httptools.HttpParserError:
            self._refuse(*(self._over or (HTTPStatus.BAD_REQUEST, "the request is not HTTP/1.1")))
        else:
            if self._bodiless_bytes > self._limits.header_bytes + self._limits.request_line_bytes:
                self._refuse(*self._large_headers())

    # Called by the parser: an exception ends the parsing.

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._header_bytes = self._headers = 0
        self._whole = False
        self.scope["state"]["connection"] = self

    def on_url(self, url: bytes) -> None:
        """A part of the request line."""
        super().on_url(url)
        if len(self.url) > self._limits.request_line_bytes:
            message = f"the URL is longer than {self._limits.request_line_bytes} bytes"
            self._exceeded(HTTPStatus.REQUEST_URI_TOO_LONG, message)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer of a chunked body."""
        self._headers += 1
        self._header_bytes += len(name) + len(value)
        if self._headers > self._limits.headers or self._header_bytes > self._limits.header_bytes:
            self._exceeded(*self._large_headers())
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The request can be answered."""
        if len(self.pipeline) >= _PIPELINED:
            self._exceeded(HTTPStatus.BAD_REQUEST, f"more than {_PIPELINED} requests wait for an answer")
        self._in_head, self._late, self._until = False, "Header", None
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._bodiless_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The body has ended; another request may begin."""
        super().on_message_complete()
        self._in_head, self._whole, self._bodiless_bytes = True, True, 0

    def on_response_complete(self) -> None:
        """The answer is out. A body that nobody waited for is not waited for either."""
        super().on_response_complete()
        self._unset_keepalive_if_required()
        if self.cycle is None or not self.cycle.response_complete or self.transport.is_closing():
            return
        if not self._whole and not self._in_head:
            self.transport.close()
        elif not self._whole:
            self._await("Header", self._limits.header_s)
        else:
            self._await("Idle", self._limits.idle_s if self._is_site else self._limits.header_s)

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        """The turn of a request."""
        self._answered = cycle
        super()._start_asgi_task(cycle, app)

    def _await(self, what: str, seconds: float) -> None:
        self._late, self._until = what, self.loop.time() + seconds

    def _large_headers(self) -> tuple[HTTPStatus, str]:
        limits = self._limits
        message = f"a request has at most {limits.headers} headers of {limits.header_bytes} bytes together"
        return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, message

    def _exceeded(self, status: HTTPStatus, message: str) -> None:
        self._over = (status, message)
        raise ValueError(message)

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        """The answer to what no request can be made of, unless another answer is under way; then it is over."""
        if self.transport.is_closing():
            return
        metrics.REFUSALS.labels("Malformed").inc()
        kind, name = cast(Tls, self.transport).holder
        refusallog.note("refused", code="Malformed", reason=message, **{kind: name})
        remote = getattr(self, "client", None) or ("",)
        accesslog.write(Call("HTTPS", str(remote[0]), "", "", outcome="Malformed", status=status.value))
        if self.cycle is not None and not self.cycle.response_complete:
            cast(Tls, self.transport).abort()
            return
        body = Refusal(code="Malformed", message=message).model_dump_json().encode()
        head = f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\nconnection: close\r\n"
        self.transport.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        self.transport.close()


def shown(scope: Any) -> Shown:
    """What a request and its connection show of who makes it."""
    connection = scope.get("state", {}).get("connection")
    certificate = cast(Tls, connection.transport).certificate if connection is not None else None
    return Shown(scope["method"], scope["path"], Headers(scope=scope), certificate)


def connection(scope: Any) -> Http:
    """The connection of a request to this server."""
    return cast(Http, scope["state"]["connection"])


def proved(scope: Any, site: str, by: str) -> None:
    """Notes that the connection of a request is that site's, and by what it was proven."""
    connection = scope.get("state", {}).get("connection")
    shown = connection is not None and cast(Tls, connection.transport).certificate is not None
    accesslog.note(client=site, identity=f"{by}+Certificate" if shown else by)
    if connection is not None:
        connection.proved(site)
