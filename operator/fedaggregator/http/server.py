"""The HTTPS server: uvicorn's cycle over our TLS, with limits; TLS 1.2 or newer, signals left to the process.

Called by __main__. What a connection may cost is in protocol.py (HTTP), tls.py (bytes and stages) and connections.py
(how many).
"""

import asyncio
import contextlib
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette

from fedaggregator.http.access import Access
from fedaggregator.http.addresses import addresses
from fedaggregator.http.certificate import Certificate
from fedaggregator.http.connections import Connections
from fedaggregator.http.protocol import Http
from fedaggregator.http.tls import Tls
from fedaggregator.limits import Limits

_STOP_S = 1.0  # open requests get so long to end, and as long to notice that they are over
_LOOK_S = 0.02  # between two looks whether they have ended; idle sites never answer the closing, and are not waited for
_TICKS = 2  # of 0.1 s: connections are looked after so often
_LOOKS = 10  # ticks between two looks for a new certificate


def unopened(servers: Sequence["Server"]) -> str:
    """Why nobody can come in yet; empty as soon as one of them listens."""
    return "" if any(each.started for each in servers) else "the server does not listen yet"


class Server(uvicorn.Server):  # type: ignore[misc]  # uvicorn is not checked
    """uvicorn without its signal handlers, which would end the process by the signal and not by our exit code."""

    def __init__(self, config: uvicorn.Config, certificate: Certificate, limits: Limits) -> None:
        super().__init__(config)
        self._certificate, self._limits, self._connections = certificate, limits, Connections(limits)
        self.servers: list[asyncio.Server] = []  # what ends before it listens is ended, too

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Nothing is captured."""
        yield

    async def startup(self, sockets: object = None) -> None:  # noqa: ARG002 - uvicorn's signature
        """Listens."""
        config = self.config
        try:
            listener = await asyncio.get_running_loop().create_server(
                self._connection, config.host, config.port, backlog=config.backlog
            )
        except OSError as error:
            uvicorn.server.logger.error(error)
            sys.exit(uvicorn.server.STARTUP_FAILURE)
        self.servers, self.started = [listener], True

    async def on_tick(self, counter: int) -> bool:
        """Called by uvicorn ten times a second."""
        if counter % _TICKS == 0:
            self._connections.sweep(asyncio.get_running_loop().time())
        if counter % _LOOKS == 0:
            self._certificate.look()
        return bool(await super().on_tick(counter))

    async def stopped(self, serving: asyncio.Task[None]) -> None:
        """Ends the server, at the latest after a short while."""
        self.should_exit = True
        for listener in self.servers:  # not at the next tick: nobody may come once the others are gone
            listener.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_S):
                await self._answered()
        self._connections.abort()
        if tasks := set(self.server_state.tasks):  # which need threads that end next
            await asyncio.wait(tasks, timeout=_STOP_S)
        self.force_exit = True
        with contextlib.suppress(SystemExit):  # uvicorn's way to say that it could not bind
            await serving

    async def _answered(self) -> None:
        """Until no request is open and the kernel has all answers."""
        while self.server_state.tasks or self._connections.unsent():  # noqa: ASYNC110 - neither tells when it changes
            await asyncio.sleep(_LOOK_S)

    def _connection(self) -> Tls:
        http = Http(self.config, self.server_state, self._limits)
        return Tls(self._certificate.context, http, self._connections, self._limits)


def server(app: Starlette, host: str, port: int, certificate: Certificate, limits: Limits) -> Server:
    """A server that is ready to `serve()`."""
    config = uvicorn.Config(
        Access(app),
        host=addresses(host),
        port=port,
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,  # it would log blob URLs, which are authorizations; access.py does not
        server_header=False,
        proxy_headers=False,
    )
    config.load()
    return Server(config, certificate, limits)
