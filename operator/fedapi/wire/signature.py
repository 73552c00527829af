"""Keys of sites, and signatures by them, as values: what a roster says of a key, and what lies beside a signed body. Pure.

Used by the messages beside it. What exactly is signed is in statement.py, the cryptography in signing.py.
"""

import base64
import hashlib
from typing import Annotated, Self

from pydantic import Field

from fedapi.wire.message import Message, Sha256

MAX_KEYS = 64  # of one site, those that are over included
PublicKey = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{43}=$")]  # of 32 raw bytes, base64 (RFC 4648 section 4)
KeyId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
SignatureText = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{86}==$")]  # of 64 bytes, the same
SaidSignature = Annotated[
    SignatureText | None,
    Field(exclude_if=lambda value: value is None, description="Of the site, over its statement (wire.statement)."),
]
SaidKeyId = Annotated[
    KeyId | None, Field(exclude_if=lambda value: value is None, description="Of the key that made it.")
]


def key_id(public_key: bytes) -> str:
    """The first 128 bits of the SHA-256 of the 32 raw bytes of an Ed25519 public key, in hexadecimal digits."""
    return hashlib.sha256(public_key).hexdigest()[:32]


class SiteKey(Message):
    """A key that a site may sign by. One that is revoked stays in the roster: what it signed before can be verified."""

    public_key: PublicKey
    not_before: float | None = None
    not_after: float | None = None
    revoked: bool = False

    @property
    def raw(self) -> bytes:
        """The 32 bytes."""
        return base64.b64decode(self.public_key)

    @property
    def id(self) -> str:
        """Its key id."""
        return key_id(self.raw)

    def coded(self) -> str:
        """As the configuration has it: `publicKey|notBefore|notAfter|revoked` as far as needed. Few bytes (ADR 21)."""
        before, after = ("" if at is None else f"{at:.0f}" for at in (self.not_before, self.not_after))
        return f"{self.public_key}|{before}|{after}|{'1' if self.revoked else ''}".rstrip("|")

    @classmethod
    def decoded(cls, code: str) -> Self:
        """The inverse."""
        public_key, before, after, revoked = (*code.split("|"), "", "", "")[:4]
        times = {"not_before": before, "not_after": after}
        said = {name: float(text) for name, text in times.items() if text}
        return cls(public_key=public_key, revoked=revoked == "1", **said)


class Signed(Message):
    """What is kept of a signed update with the commit that it is in: enough to verify it without the update's manifest."""

    key_id: KeyId
    signature: SignatureText
    body_sha256: Sha256 = Field(description="Of the manifest's canonical bytes, which the statement names.")
