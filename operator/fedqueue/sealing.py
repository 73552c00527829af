"""How a message is sealed so that who reads or writes the queue can neither read it nor make one: AES-256-GCM.

Used by both ends. The keys, one for each direction, derive from the site's token for the job, which itself is never
sent; what names job, site and direction is bound to the text. Who holds no token gets no URL and replays nothing as another's.
"""

import secrets
from typing import Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import ValidationError

from fedapi.wire.queued import Envelope
from fedapi.wire.tokens import hkdf

NONCE_BYTES = 12
Direction = Literal["to hub", "to site"]


class ForgedError(ValueError):
    """The message is not what its sender, if it is one, wrote."""


class Seal:
    """Of one site for one job."""

    def __init__(self, token: str, job_uid: str, client: str) -> None:
        self._job_uid, self._client = job_uid, client
        self._keys = {
            direction: AESGCM(hkdf(token.encode(), f"fedloom queue {direction}".encode()))
            for direction in ("to hub", "to site")
        }

    def sealed(self, direction: Direction, message: bytes) -> Envelope:
        """An envelope with a nonce of its own, by which an answer names it."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        bound = self._bound(direction)
        return Envelope(
            job_uid=self._job_uid,
            client=self._client,
            nonce=nonce.hex(),
            sealed=self._keys[direction].encrypt(nonce, message, bound),
        )

    def opened(self, direction: Direction, envelope: Envelope) -> bytes:
        """What was sealed; ForgedError when it is another's, or changed."""
        try:
            return self._keys[direction].decrypt(bytes.fromhex(envelope.nonce), envelope.sealed, self._bound(direction))
        except (InvalidTag, ValueError) as error:
            raise ForgedError(f"a message {direction} is not sealed with the token of site {self._client!r}") from error

    def _bound(self, direction: Direction) -> bytes:
        return f"{direction}\0{self._job_uid}\0{self._client}".encode()


def envelope(text: str) -> Envelope:
    """The envelope in a message of a queue; ForgedError when it is none."""
    try:
        return Envelope.told(text.encode())
    except ValidationError as error:
        raise ForgedError(f"no envelope: {error.error_count()} faults") from error
    except UnicodeEncodeError as error:  # JSON can name half a character, and queues speak JSON
        raise ForgedError("no envelope: it is no Unicode text") from error
