"""Which server an https URL leads to. Pure.

Used by trainer and init step, which trust the installation's own CA for the hub and for nobody else: what is judged here
is what they connect to.
"""

from typing import NamedTuple
from urllib.parse import urlsplit

_HTTPS = 443


class HttpsServer(NamedTuple):
    """Host in lower case, an IPv6 address without brackets; port."""

    host: str
    port: int

    @property
    def authority(self) -> str:
        """As a Host header says it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _HTTPS else f"{host}:{self.port}"

    @staticmethod
    def of(url: str) -> "HttpsServer":
        """The server of a URL. ValueError when it is not https, or names no server."""
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname:
            raise ValueError("the URL is not https, or names no server")
        return HttpsServer(parts.hostname, _HTTPS if parts.port is None else parts.port)
