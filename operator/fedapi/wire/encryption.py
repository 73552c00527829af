"""Encrypts payloads at sites and decrypts them at the hub: HPKE for the key, AES-256-GCM for the chunks (ciphertext.py).

Used by fedtrainer.training and fedaggregator.engine; it loads the `cryptography` package, which their extras bring, so
nothing beside it imports it. Who calls brings the entropy: a content key of 32 random bytes, never used twice.
"""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PrivateKey, MLKEM768X25519PublicKey, Suite

from fedapi.wire.ciphertext import CHUNK_LOG2, TAG_BYTES, CiphertextError, Frame, Header, Kem, Place, nonce
from fedapi.wire.tokens import hkdf

if TYPE_CHECKING:
    from cryptography.utils import Buffer

CONTENT_KEY_BYTES = 32
_SUITES: dict[Kem, KEM] = {"X25519": KEM.X25519, "MLKEM768X25519": KEM.MLKEM768_X25519}
_X25519_BYTES = 32  # of a public key, after those of ML-KEM (FIPS 203) where both are used


class UnavailableKemError(ValueError):
    """The library here cannot do what was asked for; the message says what can be."""


@dataclass(frozen=True)
class Encryption:
    """One payload on its way to the aggregator: made anew for each, and used once."""

    header: bytes
    place: Place
    content_key: bytes = field(repr=False)

    def encrypted(self, plain: "Iterable[Buffer]") -> Iterator[memoryview]:
        """Header and chunks of what comes in blocks of any size; each is valid until the next is asked for."""
        yield memoryview(self.header)
        cipher, bound = AESGCM(self.content_key), _bound(self.header, self.place)
        chunk, filled, index = memoryview(bytearray(1 << Header.decoded(self.header).chunk_log2)), 0, 0
        out = memoryview(bytearray(chunk.nbytes + TAG_BYTES))
        for block in plain:
            left = memoryview(block).cast("B")
            while left:
                if filled == chunk.nbytes:  # and more follows: this is not the last
                    cipher.encrypt_into(nonce(index, last=False), chunk, bound, out)
                    yield out
                    filled, index = 0, index + 1
                taken = min(left.nbytes, chunk.nbytes - filled)
                chunk[filled : filled + taken] = left[:taken]
                filled, left = filled + taken, left[taken:]
        cipher.encrypt_into(nonce(index, last=True), chunk[:filled], bound, out[: filled + TAG_BYTES])
        yield out[: filled + TAG_BYTES]


@dataclass(frozen=True)
class Recipient:
    """The aggregator, as sites know it."""

    kem: Kem
    public_key: bytes

    def encryption(self, place: Place, content_key: bytes, chunk_log2: int = CHUNK_LOG2) -> Encryption:
        """What encrypts a payload for the aggregator alone; UnavailableKemError where the library cannot do it."""
        sealed = _suite(self.kem).encrypt(content_key, self._key(), info=place.info())
        return Encryption(Header(self.kem, chunk_log2, sealed).encoded(), place, content_key)

    def _key(self) -> X25519PublicKey | MLKEM768X25519PublicKey:
        mlkem, classical = self.public_key[:-_X25519_BYTES], self.public_key[-_X25519_BYTES:]
        x25519 = X25519PublicKey.from_public_bytes(classical)
        if self.kem == "X25519":
            return x25519
        with _available(self.kem):
            return MLKEM768X25519PublicKey(MLKEM768PublicKey.from_public_bytes(mlkem), x25519)


class Decryption:
    """The chunks of one encrypted payload, in whatever order."""

    def __init__(self, content_key: bytes, header: bytes, frame: Frame, place: Place) -> None:
        self.frame = frame
        self._cipher, self._bound = AESGCM(content_key), _bound(header, place)

    def chunk(self, index: int, stored: memoryview, plain: memoryview) -> None:
        """Decrypts a chunk into a buffer of its plain bytes; CiphertextError, and nothing of it, unless it is that one."""
        try:
            self._cipher.decrypt_into(self.frame.nonce(index), stored, self._bound, plain)
        except InvalidTag:
            raise CiphertextError(self._wrong(index)) from None

    def _wrong(self, index: int) -> str:
        which = f"chunk {index + 1} of {self.frame.chunks}"
        if index == self.frame.chunks - 1:
            return f"{which} is not its last one: the end is cut off, something follows it, or it was changed"
        return f"{which} is not what was encrypted there: it was changed or moved, or is of another payload"


class HubKey:
    """The aggregator's private keys, one for each kem. They derive from the job's key, so a restart changes nothing."""

    def __init__(self, job_key: bytes) -> None:
        self._job_key = job_key

    def recipient(self, kem: Kem) -> Recipient:
        """What sites are told; UnavailableKemError where the library cannot do it."""
        classical = self._x25519(kem).public_key().public_bytes_raw()
        if kem == "X25519":
            return Recipient(kem, classical)
        return Recipient(kem, self._mlkem(kem).public_key().public_bytes_raw() + classical)

    def opened(self, header: bytes, stored: int, kem: Kem, place: Place) -> Decryption:
        """What decrypts a payload with that header, and `stored` bytes in all; CiphertextError when it is none for that place."""
        said = Header.decoded(header)
        if said.kem != kem:
            raise CiphertextError(f"its key is sealed by {said.kem}, not by {kem} as its manifest says")
        frame = Frame.of(len(header), said.chunk_log2, stored)
        try:
            content_key = _suite(said.kem).decrypt(said.sealed_key, self._private(said.kem), info=place.info())
        except InvalidTag:
            text = "its key is sealed to another aggregator, or for another job, round, attempt, site, base or payload"
            raise CiphertextError(text) from None
        if len(content_key) != CONTENT_KEY_BYTES:
            raise CiphertextError(f"its key has {len(content_key)} bytes, not {CONTENT_KEY_BYTES}")
        return Decryption(content_key, header, frame, place)

    def _private(self, kem: Kem) -> X25519PrivateKey | MLKEM768X25519PrivateKey:
        classical = self._x25519(kem)
        return classical if kem == "X25519" else MLKEM768X25519PrivateKey(self._mlkem(kem), classical)

    def _x25519(self, kem: Kem) -> X25519PrivateKey:
        return X25519PrivateKey.from_private_bytes(hkdf(self._job_key, f"fedloom hpke {kem} x25519".encode()))

    def _mlkem(self, kem: Kem) -> MLKEM768PrivateKey:
        with _available(kem):
            return MLKEM768PrivateKey.from_seed_bytes(hkdf(self._job_key, f"fedloom hpke {kem} mlkem768".encode(), 64))


@contextmanager
def _available(kem: Kem) -> Iterator[None]:
    try:
        yield
    except UnsupportedAlgorithm as error:
        text = f"{kem}: the OpenSSL here has no ML-KEM: use X25519, or the package cryptography as its wheels bring it"
        raise UnavailableKemError(text) from error


def _suite(kem: Kem) -> Suite:
    return Suite(_SUITES[kem], KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def _bound(header: bytes, place: Place) -> bytes:
    """What every chunk is bound to beside its number."""
    return hashlib.sha256(header + place.info()).digest()
