"""The sites' key on its way from the site that makes it to the others, through a hub that must not see it. Pure; called at sites.

A content key that comes from the maker's seed encrypts the scheme's key once, and is itself sealed to each participant's advertised key
(X25519, AES-256-GCM). Both are bound to the attempt: terms, participants, and for what is sealed to whom. Each key encrypts one message.
"""

from dataclasses import dataclass, field
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fedapi.wire.tokens import hkdf
from fedcore.homomorphic.contexts import SiteKey
from fedcore.homomorphic.errors import MalformedError
from fedcore.homomorphic.tags import Tags
from fedcore.secagg.keys import Attempt, bound

_NONCE = bytes(12)  # each key seals one message
_KEY_BYTES = 32


@dataclass(frozen=True)
class ContentKey:
    """What all sites of an attempt share beside the scheme's key. Secret."""

    key: bytes = field(repr=False)
    attempt: Attempt

    @classmethod
    def made(cls, seed: bytes, attempt: Attempt) -> Self:
        """The maker's: the same each time, of 32 random bytes that are new for each attempt."""
        return cls(hkdf(seed, bound("content key", attempt.context, attempt.participants)), attempt)

    @classmethod
    def unsealed(
        cls, sealed: bytes, attempt: Attempt, maker: str, maker_key: bytes, receiver: str, secret: bytes
    ) -> Self:
        """What the maker sealed to a site, by that one's X25519 secret. MalformedError where it did not, or for another attempt."""
        place = _place(attempt, maker, receiver)
        try:
            key = AESGCM(_agreed(secret, maker_key, place)).decrypt(_NONCE, sealed, place)
        except InvalidTag:
            key = b""
        if len(key) != _KEY_BYTES:
            raise MalformedError(f"site {maker!r} sealed no key to site {receiver!r} for this attempt")
        return cls(key, attempt)

    def sealed(self, maker: str, secret: bytes, receiver: str, receiver_key: bytes) -> bytes:
        """To one receiver, by the maker's X25519 secret."""
        place = _place(self.attempt, maker, receiver)
        return AESGCM(_agreed(secret, receiver_key, place)).encrypt(_NONCE, self.key, place)

    def locked(self, saved: bytes) -> bytes:
        """The scheme's key, encrypted. It is to be the same one each time."""
        return AESGCM(self._derived("ckks key")).encrypt(_NONCE, saved, self._bond())

    def unlocked(self, locked: bytes) -> SiteKey:
        """The scheme's key. MalformedError for what is none, or was encrypted for another attempt."""
        try:
            saved = AESGCM(self._derived("ckks key")).decrypt(_NONCE, locked, self._bond())
        except InvalidTag:
            raise MalformedError("the bytes are not the key of this attempt") from None
        return SiteKey(saved)

    def tags(self) -> Tags:
        """Of this attempt."""
        return Tags(self._derived("tags"), self.attempt)

    def _derived(self, what: str) -> bytes:
        return hkdf(self.key, bound(what, self._bond()))

    def _bond(self) -> bytes:
        return self.attempt.context + self.attempt.participants


def _place(attempt: Attempt, maker: str, receiver: str) -> bytes:
    return bound("sealed key", attempt.context, attempt.participants, maker.encode(), receiver.encode())


def _agreed(secret: bytes, key: bytes, info: bytes) -> bytes:
    return hkdf(X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(key)), info)
