"""Whom the trainer trusts: the hub by the installation's own CA alone, every other host by the system's roots alone.

Used by work.py and stream.py. URLs of models and uploads may lead to an object store, whose certificate a public CA
has signed, or the CA that the hub tells with the URL; such a CA has no say about the hub, nor the installation's about
anybody else.
"""

import ssl

from fedapi.https_server import HttpsServer
from fedtrainer.agent.hub_context import HubContext
from fedtrainer.errors import BadSettingsError, LinkExpiredError
from fedtrainer.settings import HubSettings


class Trust:
    """Of one process; the system's roots are read when they are first needed."""

    def __init__(self, settings: HubSettings) -> None:
        self._others: dict[str | None, ssl.SSLContext] = {}
        try:
            self._hub = HttpsServer.of(settings.aggregator_url)
        except ValueError as error:
            raise BadSettingsError(f"aggregator_url {settings.aggregator_url!r}: {error}") from error
        self.hub = HubContext(settings.credentials_dir, shows=True)

    def is_hub(self, server: HttpsServer) -> bool:
        """Whether a server is the hub."""
        return server == self._hub

    def of(self, server: HttpsServer, ca: str | None = None) -> ssl.SSLContext:
        """By what to verify a server; `ca`: what the hub said of it. LinkExpiredError when that is no certificate."""
        if self.is_hub(server):
            return self.hub()
        if ca not in self._others:
            self._others = {ca: _by(ca)}  # one store, whose CA changes rarely
        return self._others[ca]


def _by(ca: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cadata=ca)
    except (ssl.SSLError, ValueError, TypeError) as error:
        raise LinkExpiredError(
            f"the store's CA certificates, as the hub tells them, cannot be read: {error}"
        ) from error
