"""A site's state as bytes that the site alone can read: how it is entrusted to the hub. Called by entrusting.py.

    magic    7  b"fedsite"
    version  1  1
    salt    32  random, of this file alone
    key id  16  derives from the site's secret and the salt, so that a wrong secret is told from damage
    chunks      of 64 KiB, AES-256-GCM, as in fedapi.wire.ciphertext: numbered, and the last one marked

Content key and key id are HKDF-SHA256 (RFC 5869) of the site's secret (`state.key`) and the salt. Each chunk is bound to the
header and to the update whose state it is: site, round, attempt and SHA-256. The hub has none of the keys.
"""

import hashlib
import hmac
import os
import secrets
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from fedapi import names
from fedapi.wire.ciphertext import CHUNK_LOG2, TAG_BYTES, CiphertextError, Frame
from fedapi.wire.message import Message, Name, Natural, Sha256
from fedapi.wire.tokens import hkdf
from fedtrainer.errors import BadSettingsError

MAGIC, VERSION = b"fedsite", 1
SALT_BYTES, KEY_ID_BYTES, KEY_BYTES = 32, 16, 32
HEADER_BYTES = len(MAGIC) + 1 + SALT_BYTES + KEY_ID_BYTES
LEAST_SECRET, MOST_SECRET = 32, 4096  # bytes
_CHUNK = 1 << CHUNK_LOG2


class Place(Message):
    """Whose state it is, and which update left it."""

    client: Name
    round: Natural
    attempt: Natural
    update_sha256: Sha256


class StateCipher:
    """The site's secret, and what is done with it."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    @classmethod
    def of(cls, folder: Path) -> "StateCipher":
        """By `state.key` of the mounted Secret; BadSettingsError where that is none."""
        path = folder / names.FILE_STATE_KEY
        try:
            secret = path.read_bytes().strip()
        except OSError as error:
            text = f"spec.entrustedState.keySecretRef: {path} is not readable ({error.strerror})"
            raise BadSettingsError(f"{text}: give the Secret a key {names.FILE_STATE_KEY}") from None
        if not LEAST_SECRET <= len(secret) <= MOST_SECRET:
            text = f"spec.entrustedState.keySecretRef: {names.FILE_STATE_KEY} has {len(secret)} bytes, not {LEAST_SECRET} to {MOST_SECRET}"
            raise BadSettingsError(f"{text}: make it by `openssl rand -hex 32`")
        return cls(secret)

    @cached_property
    def fingerprint(self) -> str:
        """Tells this secret from another, to the site alone; nothing can be learnt of the secret by it."""
        return hkdf(self._secret, b"fedloom entrusted state: which key", KEY_ID_BYTES).hex()

    def encrypt(self, plain: Path, place: Place, target: Path) -> tuple[str, int]:
        """Writes a file's ciphertext; SHA-256 and size of that. No two calls use the same key."""
        salt = secrets.token_bytes(SALT_BYTES)
        key, key_id = self._keys(salt)
        header = MAGIC + bytes([VERSION]) + salt + key_id
        digest, size = hashlib.sha256(), 0
        with plain.open("rb") as source, target.open("wb") as out:
            for part in _encrypted(key, header, place, source):
                digest.update(part)
                out.write(part)
                size += len(part)
        return digest.hexdigest(), size

    def decrypt(self, encrypted: Path, place: Place, target: Path) -> str:
        """Writes the plain file, durably; its SHA-256. CiphertextError says why it cannot be: nothing of it is to be used."""
        digest = hashlib.sha256()
        with encrypted.open("rb") as source, target.open("wb") as out:
            for part in self._decrypted(source, place):
                digest.update(part)
                out.write(part)
            out.flush()
            os.fsync(out.fileno())
        return digest.hexdigest()

    def _decrypted(self, source: BinaryIO, place: Place) -> Iterator[bytes]:
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - 7 MB where nothing is entrusted
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

        header = source.read(HEADER_BYTES)
        if len(header) < HEADER_BYTES or not header.startswith(MAGIC):
            raise CiphertextError("it is no state that a site has encrypted")
        if (version := header[len(MAGIC)]) != VERSION:
            raise CiphertextError(f"it has version {version}, which this trainer does not read: use a newer task image")
        salt = header[len(MAGIC) + 1 : -KEY_ID_BYTES]
        key, key_id = self._keys(salt)
        if not hmac.compare_digest(key_id, header[-KEY_ID_BYTES:]):
            raise CiphertextError(
                f"it was encrypted by another {names.FILE_STATE_KEY} than the site has now (wrong key)"
            )
        frame = Frame.of(HEADER_BYTES, CHUNK_LOG2, os.fstat(source.fileno()).st_size)
        cipher, bound = AESGCM(key), _bound(header, place)
        for index in range(frame.chunks):
            try:
                yield cipher.decrypt(frame.nonce(index), source.read(frame.plain(index) + TAG_BYTES), bound)
            except InvalidTag:
                which = f"chunk {index + 1} of {frame.chunks}"
                raise CiphertextError(f"{which} was changed, or is of another update or site") from None

    def _keys(self, salt: bytes) -> tuple[bytes, bytes]:
        made = hkdf(self._secret, b"fedloom entrusted state\0" + salt, KEY_BYTES + KEY_ID_BYTES)
        return made[:KEY_BYTES], made[KEY_BYTES:]


def _encrypted(key: bytes, header: bytes, place: Place, source: BinaryIO) -> Iterator[bytes]:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - as above

    yield header
    plain = os.fstat(source.fileno()).st_size
    chunks = max(1, -(-plain // _CHUNK))
    frame = Frame.of(HEADER_BYTES, CHUNK_LOG2, HEADER_BYTES + plain + chunks * TAG_BYTES)
    cipher, bound = AESGCM(key), _bound(header, place)
    for index in range(frame.chunks):
        yield cipher.encrypt(frame.nonce(index), source.read(frame.plain(index)), bound)


def _bound(header: bytes, place: Place) -> bytes:
    return hashlib.sha256(header + place.canonical()).digest()
