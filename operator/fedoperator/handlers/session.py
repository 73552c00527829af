"""The HTTP session of kopf's watches: fresh credentials on every request, and a note of what was answered.

Built for runtime.py through kopf's documented custom sessions. It sees what handlers cannot: that a list began, that
a watch was taken up again, that nothing happens any more. kopf never reports what was deleted while a watch was
interrupted for long, so after every list the cache is swept of what the list did not mention.
"""

import asyncio
import ssl
from collections.abc import Callable
from time import monotonic
from typing import Protocol
from urllib.parse import unquote

import aiohttp
import kopf

from fedapi.jsonvalue import Json
from fedoperator.cluster.cache import Cache
from fedoperator.cluster.kinds import OPTIONAL, WATCHED
from fedoperator.watch_health import Stream, WatchHealth

SWEEP_AFTER_S = 5.0  # by then kopf has handed over what the list held; what comes later is taken back in

_PLURALS = {(kind.group, kind.version, kind.plural): kind.kind for kind in (*WATCHED, *OPTIONAL)}


class Login(Protocol):
    """What is needed to reach the API server."""

    @property
    def server(self) -> str:
        """Base URL."""

    def authorization(self) -> str | None:
        """Value of the Authorization header, as of now."""

    def tls(self) -> ssl.SSLContext:
        """Trust and client certificate."""


class SessionMaker:
    """Makes the session and watches over its requests."""

    def __init__(self, login: Login, health: WatchHealth, cache: Cache, missed: Callable[[Json], None]) -> None:
        self._login = login
        self._health = health
        self._cache = cache
        self._missed = missed
        self._lists: dict[Stream, float] = {}
        self._sweeps: set[asyncio.TimerHandle] = set()

    def session(self) -> kopf.AiohttpSession:
        """A session for kopf."""
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=self._login.tls()),
            headers={"User-Agent": "fedloom-operator/watch"},
            middlewares=(self._middleware,),
        )
        return kopf.AiohttpSession(server=self._login.server, aiohttp_session=session)

    async def _middleware(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        if authorization := self._login.authorization():
            request.headers["Authorization"] = authorization
        stream = stream_of(request.url.path)
        watching = request.url.query.get("watch") == "true"
        if stream and not watching and "continue" not in request.url.query:
            self._lists[stream] = monotonic()
        response = await handler(request)
        if stream and response.ok:
            self._health.heard(stream, watching=watching)
            if watching and (began := self._lists.pop(stream, None)) is not None:
                asyncio.get_running_loop().call_later(SWEEP_AFTER_S, self._sweep, stream, began)
        return response

    def _sweep(self, stream: Stream, before: float) -> None:
        for body in self._cache.sweep(stream.kind, stream.namespace, before):
            self._missed(body)


def stream_of(path: str) -> Stream | None:
    """The watch that a request path belongs to; None for discovery and anything else."""
    parts = unquote(path).strip("/").split("/")
    group, rest = ("", parts[1:]) if parts[0] == "api" else (parts[1] if len(parts) > 1 else "", parts[2:])
    namespace = None
    if len(rest) == 4 and rest[1] == "namespaces":
        namespace, rest = rest[2], [rest[0], rest[3]]
    kind = _PLURALS.get((group, rest[0], rest[1])) if len(rest) == 2 else None
    return Stream(kind, namespace) if kind else None
