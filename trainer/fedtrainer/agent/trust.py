"""Whom the trainer trusts: the hub by the installation's own CA alone, every other host by the system's roots alone.

Used by control.py and stream.py. URLs of models and uploads may lead to an object store, whose certificate a public CA
has signed; such a CA has no say about the hub, nor the installation's about anybody else.
"""

import ssl
from functools import cached_property

from fedapi.https_server import HttpsServer
from fedtrainer.errors import BadSettingsError
from fedtrainer.settings import HubSettings


class Trust:
    """Of one process; the system's roots are read when they are first needed."""

    def __init__(self, settings: HubSettings) -> None:
        try:
            self._hub = HttpsServer.of(settings.aggregator_url)
        except ValueError as error:
            raise BadSettingsError(f"aggregator_url {settings.aggregator_url!r}: {error}") from error
        try:
            self.hub = ssl.create_default_context(cafile=str(settings.ca_file))
        except (OSError, ssl.SSLError) as error:
            raise BadSettingsError(
                f"ca.crt: {settings.ca_file} is not usable ({error}): mount the Secret that the operator made"
            ) from error

    def of(self, server: HttpsServer) -> ssl.SSLContext:
        """By what to verify a server."""
        return self.hub if server == self._hub else self._others

    @cached_property
    def _others(self) -> ssl.SSLContext:
        return ssl.create_default_context()
