"""The HTTPS server: uvicorn with httptools, TLS 1.2 or newer, signals left to the process. Called by __main__."""

import asyncio
import contextlib
import ssl
from collections.abc import Generator
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette

from fedaggregator.http.addresses import addresses
from fedaggregator.settings import Credentials, Settings

_STOP_S = 1.0  # open requests get so long to end; idle TLS connections of sites never answer the closing


class Server(uvicorn.Server):  # type: ignore[misc]  # uvicorn is not checked
    """uvicorn without its signal handlers: it would end the process by the signal and not by our exit code."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Nothing is captured."""
        yield

    async def stopped(self, serving: asyncio.Task[None]) -> None:
        """Ends the server, at the latest after a short while."""
        self.should_exit = True
        await asyncio.wait((serving,), timeout=_STOP_S)
        self.force_exit = True
        with contextlib.suppress(SystemExit):  # uvicorn's way to say that it could not bind
            await serving


def server(app: Starlette, settings: Settings, credentials: Credentials) -> Server:
    """A server that is ready to `serve()`."""
    config = uvicorn.Config(
        app,
        host=addresses(settings.host),
        port=settings.port,
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,  # it would log blob URLs, which are authorizations
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=120,
        ssl_certfile=credentials.certificate,
        ssl_keyfile=credentials.private_key,
    )
    config.load()
    if config.ssl is not None:
        config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
    return Server(config)
