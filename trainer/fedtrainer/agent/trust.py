"""Whom the trainer trusts: the hub by the installation's own CA alone, every other host by the system's roots alone.

Used by control.py and stream.py. URLs of models and uploads may lead to an object store, whose certificate a public CA
has signed; such a CA has no say about the hub, nor the installation's about anybody else.
"""

import ssl
from functools import cached_property
from urllib.parse import urlsplit

from fedtrainer.errors import BadSettingsError
from fedtrainer.settings import HubSettings

_HTTPS = 443


class Trust:
    """Of one process; the system's roots are read when they are first needed."""

    def __init__(self, settings: HubSettings) -> None:
        self._hub = _address(urlsplit(settings.aggregator_url).netloc)
        try:
            self.hub = ssl.create_default_context(cafile=str(settings.ca_file))
        except (OSError, ssl.SSLError) as error:
            raise BadSettingsError(
                f"ca.crt: {settings.ca_file} is not usable ({error}): mount the Secret that the operator made"
            ) from error

    def of(self, netloc: str) -> ssl.SSLContext:
        """By what to verify the host of a URL (`host:port`)."""
        return self.hub if _address(netloc) == self._hub else self._others

    @cached_property
    def _others(self) -> ssl.SSLContext:
        return ssl.create_default_context()


def _address(netloc: str) -> tuple[str | None, int]:
    parts = urlsplit(f"//{netloc}")
    return parts.hostname, parts.port or _HTTPS
