"""Probes and metrics, on a port of their own: plain HTTP, so that the sites' port can ask for certificates.

Started by the entry points. One short request per connection, few connections at once, each within seconds: what asks here is a
kubelet and a Prometheus, and a NetworkPolicy keeps everybody else away.
"""

import asyncio
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import NamedTuple, Self

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from fedaggregator.errors import FatalError
from fedaggregator.http.addresses import addresses
from fedapi import names
from fedapi.outcome import Exit

CONNECTIONS = 32  # at once; one more is cut off
HEAD_BYTES = 8 << 10
WITHIN_S = 5.0  # from the connection to the last byte of the answer
_TEXT = "text/plain; charset=utf-8"


class Answer(NamedTuple):
    """What a path answers."""

    status: HTTPStatus
    content_type: str
    body: bytes


Routes = Mapping[str, Callable[[], Answer]]


class Monitoring:
    """The server. As a context manager it listens."""

    def __init__(self, routes: Routes, host: str, port: int) -> None:
        self._routes, self._host, self._port = routes, host, port
        self._open = 0
        self._listener: asyncio.Server

    async def __aenter__(self) -> Self:
        """Listens; FatalError when it cannot."""
        try:
            self._listener = await asyncio.start_server(
                self._connected, addresses(self._host), self._port, limit=HEAD_BYTES
            )
        except OSError as error:
            message = f"{names.ENV_MONITORING_PORT}={self._port}: it cannot be listened on ({error.strerror or error})"
            raise FatalError(Exit.BAD_SETTINGS, message) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        """Ends it; requests under way are dropped."""
        self._listener.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= CONNECTIONS:
                async with asyncio.timeout(WITHIN_S):
                    await self._served(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            self._open -= 1
            writer.transport.abort()

    async def _served(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        answer = self._answer(head.partition(b"\r\n")[0].decode("ascii", "replace"))
        lines = (
            f"HTTP/1.1 {answer.status.value} {answer.status.phrase}",
            f"content-type: {answer.content_type}",
            f"content-length: {len(answer.body)}",
            "connection: close",
        )
        writer.transport.set_write_buffer_limits(0)  # drained when the kernel has all of it
        writer.write("\r\n".join((*lines, "", "")).encode() + answer.body)
        await writer.drain()
        writer.write_eof()
        await reader.read(1)  # the goodbye: an abort before it could overtake the answer

    def _answer(self, request_line: str) -> Answer:
        method, _, rest = request_line.partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        if path not in self._routes:
            return text(HTTPStatus.NOT_FOUND, f"there are {', '.join(self._routes)}")
        if method != "GET":
            return text(HTTPStatus.METHOD_NOT_ALLOWED, "GET it")
        return self._routes[path]()


def text(status: HTTPStatus, said: str) -> Answer:
    """A line of text."""
    return Answer(status, _TEXT, said.encode())


def routes(unready: Callable[[], str], registry: CollectorRegistry) -> Routes:
    """Liveness: the event loop turns. Readiness: nothing keeps the process from serving."""

    def readyz() -> Answer:
        why = unready()
        return text(HTTPStatus.SERVICE_UNAVAILABLE if why else HTTPStatus.OK, why or "ready")

    return {
        "/healthz": lambda: text(HTTPStatus.OK, "ok"),
        "/readyz": readyz,
        "/metrics": lambda: Answer(HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(registry)),
    }
