"""TLS towards the hub: the CA that it is verified by, and this site's own certificate, read anew when their files change.

Used by trust.py and heartbeat.py. Each new connection is made with the newest context; who keeps connections drops those of an
older one, so that neither a CA nor a certificate that was replaced is used any longer than a request. Files that do not fit
together, as while they are being replaced, are left alone until they do.
"""

import logging
import ssl
import threading
from pathlib import Path

from fedapi import names
from fedtrainer.errors import BadSettingsError

log = logging.getLogger(__name__)
_Version = tuple[tuple[int, int, int] | None, ...]


class HubContext:
    """Of a credentials folder. `shows`: the certificate in it, if there is one. Used from several threads."""

    def __init__(self, folder: Path, *, shows: bool) -> None:
        self._ca = folder / names.FILE_CA
        self._pair = (folder / names.FILE_TLS_CERT, folder / names.FILE_TLS_KEY) if shows else ()
        self._lock = threading.Lock()
        self._seen = self._version()
        try:
            self._context = self._loaded()
        except OSError as error:  # ssl.SSLError is one
            wrong = f"{self._ca} is not usable ({error}): mount the Secret that the operator made"
            raise BadSettingsError(f"{names.FILE_CA}: {wrong}") from error

    def __call__(self) -> ssl.SSLContext:
        """The newest; the same object as long as the files are the same."""
        with self._lock:
            version = self._version()
            if version != self._seen:
                self._take(version)
            return self._context

    def _take(self, version: _Version) -> None:
        try:
            self._context, self._seen = self._loaded(), version
        except OSError as error:  # ssl.SSLError is one
            log.debug("the new certificate cannot be read yet", extra={"fields": {"reason": str(error)}})
        else:
            log.info("took a new certificate")

    def _version(self) -> _Version:
        """Of what the names lead to: a mounted Secret is replaced as a whole, by a link."""
        return tuple(_version(path) for path in (self._ca, *self._pair))

    def _loaded(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self._ca))
        if self._pair and self._pair[0].exists():  # Secrets of older operators, and of runs on one machine, have none
            context.load_cert_chain(*self._pair)
        return context


def _version(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
