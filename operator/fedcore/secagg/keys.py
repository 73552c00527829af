"""All keys of a site in one attempt, from one seed, and what is made with them: pair masks, sealed shares, signatures checked.

HKDF-SHA256 binds each key to a label, to the attempt's terms (job, round, attempt, base model, roster) and to who uses it. So
another attempt has other keys even where a seed were given twice. Pure; keys have no repr.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Self

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fedapi.wire.tokens import hkdf
from fedcore.secagg.masking import Mask

_NONCE = bytes(12)  # each key seals one message
_PROBE = X25519PrivateKey.from_private_bytes(hashlib.sha256(b"fedloom secagg probe").digest())


def bound(label: str, *parts: bytes) -> bytes:
    """A label and parts as bytes that no other label and parts have."""
    return b"fedloom secagg " + label.encode() + b"\0" + b"".join(len(part).to_bytes(4) + part for part in parts)


@dataclass(frozen=True)
class Keys:
    """A site's secrets of an attempt."""

    mask_secret: bytes = field(repr=False)
    share_secret: bytes = field(repr=False)
    self_seed: bytes = field(repr=False)

    @classmethod
    def made(cls, seed: bytes, context: bytes) -> Self:
        """From 32 random bytes, for the terms with this context."""
        labels = ("mask key", "share key", "self-mask seed")
        return cls(*(hkdf(seed, bound(label, context)) for label in labels))


def public(secret: bytes) -> bytes:
    """The public key of an X25519 secret."""
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def commitment(self_seed: bytes, context: bytes, site: str) -> str:
    """What a site says of its self-mask's seed beforehand, so that a wrong one is found out."""
    return hashlib.sha256(bound("self-mask commitment", context, site.encode(), self_seed)).hexdigest()


def usable(key: bytes) -> bool:
    """Whether an X25519 public key agrees on a secret at all: not one of the few points of small order."""
    try:
        _PROBE.exchange(X25519PublicKey.from_public_bytes(key))
    except ValueError:
        return False
    return True


def _agreed(secret: bytes, key: bytes, info: bytes) -> bytes:
    return hkdf(X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(key)), info)


@dataclass(frozen=True)
class Attempt:
    """What everything is bound to once the participants are known: SHA-256 of the terms and of them."""

    context: bytes
    participants: bytes

    def self_mask(self, self_seed: bytes) -> Mask:
        """A site's own mask, as it adds it."""
        return Mask(hkdf(self_seed, bound("self mask", self.context, self.participants)), added=True)

    def pair_mask(self, own: str, secret: bytes, other: str, key: bytes) -> Mask:
        """The mask of two sites as the first applies it, from its secret and the other's public key."""
        first, second = sorted((own.encode(), other.encode()))
        info = bound("pair mask", self.context, self.participants, first, second)
        return Mask(_agreed(secret, key, info), added=own < other)

    def mirrored(self, own: str, key: bytes, other: str, secret: bytes) -> Mask:
        """The same as the first applies it, from the other's secret and the first's public key."""
        return self.pair_mask(other, secret, own, key).inverse()

    def sealed(self, shares: bytes, sender: str, secret: bytes, receiver: str, key: bytes) -> bytes:
        """Shares encrypted to one receiver: AES-256-GCM, associated data = sender, receiver and this attempt."""
        place = self._place(sender, receiver)
        return AESGCM(_agreed(secret, key, place)).encrypt(_NONCE, shares, place)

    def unsealed(self, sealed: bytes, sender: str, key: bytes, receiver: str, secret: bytes) -> bytes | None:
        """The shares, or None where the sender sealed none for this."""
        place = self._place(sender, receiver)
        try:
            return AESGCM(_agreed(secret, key, place)).decrypt(_NONCE, sealed, place)
        except InvalidTag:
            return None

    def _place(self, sender: str, receiver: str) -> bytes:
        return bound("shares", self.context, self.participants, sender.encode(), receiver.encode())


def signed(key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether an Ed25519 signature is this key's."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
