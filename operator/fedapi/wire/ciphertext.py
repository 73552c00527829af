"""An encrypted payload as bytes: its header, and where its chunks lie. Pure, and without a key.

    magic        7  b"fedloom"
    version      1  1
    kem          1  how the content key is sealed: 1 X25519, 2 MLKEM768X25519
    chunk        1  binary logarithm of a chunk's plain bytes
    sealed size  2  big endian
    sealed key      HPKE (RFC 9180, single shot): encapsulated key and encrypted content key
    chunks          of plain bytes each, encrypted, and a tag of 16 bytes; the last one may be shorter, and is empty only
                    where the payload is

The chunks are a STREAM (Hoang, Reyhanitabar, Rogaway, Vizár 2015): the nonce of each is its number and whether it is the
last, so none can be left out, added, moved or repeated. What is done with keys is in encryption.py.
"""

import struct
from dataclasses import dataclass
from typing import Literal

from fedapi.wire.message import Message, Name, Natural, Sha256

Kem = Literal["X25519", "MLKEM768X25519"]
KEMS: dict[Kem, int] = {"X25519": 1, "MLKEM768X25519": 2}
SEALED_BYTES: dict[Kem, int] = {"X25519": 32 + 48, "MLKEM768X25519": 1120 + 48}
TAG_BYTES = 16
CHUNK_LOG2 = 16  # 64 KiB: whoever reads a span decrypts little that it does not need, and 0.03% is added
PREFIX_BYTES = 12
_PREFIX = struct.Struct(">7sBBBH")
_MAGIC, _VERSION = b"fedloom", 1
_CHUNK_LOG2 = range(12, 21)  # what a reader takes: neither its memory nor its calls are the writer's choice
_NAMES = {number: kem for kem, number in KEMS.items()}


class Place(Message):
    """What a payload is for. Encrypted, it cannot be taken for anything else."""

    job_uid: Name
    round: Natural
    attempt: Natural
    client: Name
    base_sha256: Sha256
    payload: Name

    def info(self) -> bytes:
        """As HPKE binds it."""
        return b"fedloom payload\0" + self.canonical()


class CiphertextError(ValueError):
    """The bytes are not what was encrypted for this place; the message says what is wrong with them."""


@dataclass(frozen=True)
class Header:
    """What an encrypted payload begins with."""

    kem: Kem
    chunk_log2: int
    sealed_key: bytes

    def encoded(self) -> bytes:
        """As it is stored."""
        prefix = _PREFIX.pack(_MAGIC, _VERSION, KEMS[self.kem], self.chunk_log2, len(self.sealed_key))
        return prefix + self.sealed_key

    @classmethod
    def decoded(cls, data: bytes) -> "Header":
        """The header of so many bytes as `header_bytes` says."""
        _, _, kem, chunk_log2, _ = _PREFIX.unpack(data[:PREFIX_BYTES])
        return cls(_NAMES[kem], chunk_log2, data[PREFIX_BYTES:])


def header_bytes(prefix: bytes) -> int:
    """Size of the header that begins with these PREFIX_BYTES; CiphertextError when none does."""
    if len(prefix) < PREFIX_BYTES or not prefix.startswith(_MAGIC):
        raise CiphertextError("it is not encrypted: no header of Fedloom's is at its beginning")
    _, version, kem, chunk_log2, sealed = _PREFIX.unpack(prefix)
    if version != _VERSION or kem not in _NAMES:
        raise CiphertextError(f"its header is of version {version} and kem {kem}, which this hub does not read")
    if chunk_log2 not in _CHUNK_LOG2 or sealed != SEALED_BYTES[_NAMES[kem]]:
        raise CiphertextError(f"its header says chunks of 2^{chunk_log2} bytes and a key of {sealed}: no writer's does")
    return PREFIX_BYTES + int(sealed)


@dataclass(frozen=True)
class Frame:
    """Where the chunks of a payload lie."""

    header: int  # bytes
    chunk: int  # plain bytes of all chunks but the last
    chunks: int
    size: int  # plain bytes of the payload

    @classmethod
    def of(cls, header: int, chunk_log2: int, stored: int) -> "Frame":
        """Of `stored` bytes in all; CiphertextError when no payload has so many."""
        body, chunk = stored - header, 1 << chunk_log2
        chunks = -(-body // (chunk + TAG_BYTES))
        size = body - chunks * TAG_BYTES
        if size < 0 or chunks == 0 or (chunks > 1 and size <= (chunks - 1) * chunk):
            raise CiphertextError(f"it has {stored} bytes, which is no whole number of chunks: a part is missing")
        return cls(header, chunk, chunks, size)

    def stored(self, index: int) -> tuple[int, int]:
        """Offset and bytes of a chunk as it is stored, tag and all."""
        return self.header + index * (self.chunk + TAG_BYTES), self.plain(index) + TAG_BYTES

    def plain(self, index: int) -> int:
        """Plain bytes of a chunk."""
        return min(self.chunk, self.size - index * self.chunk)

    def nonce(self, index: int) -> bytes:
        """Of a chunk: no two of one key have the same."""
        return nonce(index, last=index == self.chunks - 1)


def nonce(index: int, *, last: bool) -> bytes:
    """The 12 bytes with which a chunk is encrypted: its number, and whether nothing follows it."""
    return index.to_bytes(11) + bytes([last])


def stored_bytes(size: int, kem: Kem, chunk_log2: int = CHUNK_LOG2) -> int:
    """Bytes of an encrypted payload of so many plain bytes."""
    chunks = max(1, -(-size // (1 << chunk_log2)))
    return PREFIX_BYTES + SEALED_BYTES[kem] + size + chunks * TAG_BYTES
