"""The server's certificate, and by whose CA it verifies clients': read anew when the files change, without a restart. Called by server.py.

A connection keeps the context that it was made with; the next one gets the newest. Files that do not fit together, as
while they are being replaced, are left alone until they do.
"""

import logging
import ssl
from pathlib import Path

from fedaggregator.errors import FatalError
from fedapi.outcome import Exit

log = logging.getLogger(__name__)
_Version = tuple[tuple[int, int, int], ...]


class Certificate:
    """A context for new connections; FatalError when there is none to begin with.

    With the CA of clients a client is asked for a certificate, and one that it shows is verified; whether it needs one is for
    the application to say (Identity of ports.py).
    """

    def __init__(self, certificate: Path, private_key: Path, clients_ca: Path | None = None) -> None:
        self._pair, self._clients_ca = (certificate, private_key), clients_ca
        self._files = (*self._pair, clients_ca) if clients_ca else self._pair
        try:
            self._seen = self._version()
            self.context = self._loaded()
        except OSError as error:  # ssl.SSLError is one
            raise FatalError(Exit.BAD_SETTINGS, f"{self._files[0]} and its key cannot be used: {error}") from error

    def look(self) -> None:
        """Takes a new certificate, if there is one."""
        try:
            version = self._version()
            if version == self._seen:
                return
            self.context = self._loaded()
        except OSError as error:  # ssl.SSLError is one
            log.debug("the new certificate cannot be read yet", extra={"fields": {"reason": str(error)}})
            return
        self._seen = version
        log.info("took a new certificate")

    def _version(self) -> _Version:
        """Of what the names lead to: a mounted Secret is replaced as a whole, by a link."""
        found = (path.stat() for path in self._files)
        return tuple((each.st_ino, each.st_mtime_ns, each.st_size) for each in found)

    def _loaded(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(*self._pair)
        if self._clients_ca is not None:
            context.load_verify_locations(self._clients_ca)
            context.verify_mode = ssl.CERT_OPTIONAL
        return context
