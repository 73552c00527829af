"""Who sends a heartbeat, and who may read all sites: bearer tokens that derive from the registry's key.

A token is good for one client id and one generation of it. The next generation makes the one before void: that is how
a site's token is replaced after a theft, and how a site is shut out. The generations are a file, so that they act without a
restart.
"""

import hmac
import json
import logging
from collections.abc import Mapping
from pathlib import Path

from fedapi.wire.tokens import heartbeat_token, reader_token

log = logging.getLogger(__name__)
_TOKEN_LENGTH = 64
_LONGEST_FILE = 1 << 20


class Tokens:
    """Compares in constant time."""

    def __init__(self, key: bytes, generations_file: Path | None = None) -> None:
        self._key, self._file = key, generations_file
        self._seen: tuple[int, int, int] | None = None
        self._generations: Mapping[str, int] = {}
        self.look()

    def site_doubt(self, client_id: str, authorization: str) -> str:
        """Why the header is not that site's; empty when it is."""
        expected = heartbeat_token(self._key, client_id, self._generations.get(client_id, 0))
        return "" if hmac.compare_digest(_shown(authorization), expected) else f"the token is not that of {client_id!r}"

    def reader_doubt(self, authorization: str) -> str:
        """The same of who reads all sites."""
        held = hmac.compare_digest(_shown(authorization), reader_token(self._key))
        return "" if held else "the token is not that of a reader"

    def look(self) -> None:
        """Takes the generations as the file says them now. One that cannot be read changes nothing."""
        if self._file is None:
            return
        try:
            found = self._file.stat()
            version = (found.st_ino, found.st_mtime_ns, found.st_size)
            if version == self._seen:
                return
            self._generations, self._seen = _generations(self._file), version
        except (OSError, ValueError) as error:
            reason = f"{self._file}: {error}"
            log.error("the generations of tokens cannot be read", extra={"fields": {"reason": reason}})  # noqa: TRY400


def looks_like_one(authorization: str) -> bool:
    """Whether the header has the form of a token: what has not is refused before its body is read."""
    return len(_shown(authorization)) == _TOKEN_LENGTH


def _shown(authorization: str) -> str:
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    return token if scheme.lower() == "bearer" and token.isascii() else ""


def _generations(file: Path) -> Mapping[str, int]:
    text = file.read_text(encoding="utf-8")
    if len(text) > _LONGEST_FILE:
        raise ValueError(f"it is longer than {_LONGEST_FILE} characters")
    found = json.loads(text or "{}")
    if not isinstance(found, dict) or any(type(value) is not int or value < 0 for value in found.values()):
        raise ValueError("it must be a JSON object of numbers: client id to generation")
    return found
