"""One kept-alive HTTPS connection for big bodies, by http.client. Used by bulk.py.

Not for more than one thread. No redirects, no proxies: an expiring URL goes where it says.
"""

import contextlib
import http.client
import ssl
from collections.abc import Mapping
from typing import BinaryIO
from urllib.parse import urlsplit

from fedapi.https_server import HttpsServer
from fedtrainer.agent.link import hung_up
from fedtrainer.agent.patience import RetryError
from fedtrainer.agent.trust import Trust
from fedtrainer.errors import LinkExpiredError

BLOCK_BYTES = 1 << 20
CONNECT_S, SILENCE_S = 5.0, 60.0


class Stream:
    """Keeps the connection to the last server."""

    def __init__(self, trust: Trust) -> None:
        self._trust = trust
        self._server: tuple[HttpsServer, str | None] | None = None
        self._connection: http.client.HTTPSConnection | None = None
        self._context: ssl.SSLContext | None = None  # that it was made with

    def is_of_hub(self, url: str) -> bool:
        """Whether the aggregator answers at a URL; else an object store does."""
        return self._trust.is_hub(HttpsServer.of(url))

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: BinaryIO | None = None, ca: str | None = None
    ) -> http.client.HTTPResponse:
        """The answer, its body unread. RetryError when there is none; read all of it before the next call, or `close`.

        `ca`: by what the hub says that the URL's server is verified.
        """
        try:
            parts, server = urlsplit(url), HttpsServer.of(url)
        except ValueError as error:
            raise LinkExpiredError(f"{error}: asks for another one") from error
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        try:
            connection = self._connected(server, ca)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # refused early: the answer may be there
                connection.request(method, target, body, dict(headers))
            return connection.getresponse()
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            if _unfit(error):  # its text has the URL or a header, which are secret
                raise LinkExpiredError(
                    f"{type(error).__name__}: the grant is malformed, asks for another one"
                ) from None
            raise RetryError(f"{type(error).__name__}: {error}") from error

    def close(self) -> None:
        """Ends the connection; the next call makes a new one."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _connected(self, server: HttpsServer, ca: str | None) -> http.client.HTTPSConnection:
        kept = self._connection.sock if self._connection is not None else None
        context = self._trust.of(server, ca)
        is_same = (server, ca) == self._server and context is self._context
        if kept is None or not is_same or hung_up(kept):
            self.close()
        if self._connection is None:
            self._connection = http.client.HTTPSConnection(
                *server, context=context, timeout=CONNECT_S, blocksize=BLOCK_BYTES
            )
            self._context = context
            self._connection.connect()
            self._connection.sock.settimeout(SILENCE_S)
            self._server = server, ca
        return self._connection


def _unfit(error: Exception) -> bool:
    """Whether it is the request itself that cannot be sent; an error of TLS is a ValueError too."""
    return isinstance(error, http.client.InvalidURL | ValueError) and not isinstance(error, OSError)
