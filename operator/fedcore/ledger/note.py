"""Checkpoints as signed notes: C2SP signed-note, tlog-checkpoint. Ed25519. Pure.

A witness may add lines of its own: a note is good when one of its signatures is by the key that is asked for, and those by
others are left alone.
"""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fedcore.ledger import merkle, tiles

MAX_NOTE_BYTES = 1 << 16
_ED25519 = b"\x01"
_LINE = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,15}")


class MalformedNoteError(ValueError):
    """The bytes are no checkpoint, or no key."""


class WrongSignatureError(ValueError):
    """No signature of the note is by that key."""


@dataclass(frozen=True)
class Checkpoint:
    """How large a ledger is, and the root of its tree."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


@dataclass(frozen=True)
class Verifier:
    """A public key with the name of who signs: `NAME+ID+BASE64`."""

    name: str
    key: bytes

    def __str__(self) -> str:
        said = base64.b64encode(_ED25519 + self.key).decode()
        return f"{self.name}+{self.id.hex()}+{said}"

    @property
    def id(self) -> bytes:
        """What a signature names the key by."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.key).digest()[:4]

    def verifies(self, signature: str, statement: bytes) -> bool:
        """Whether the signature (base64) is the key's over these bytes."""
        try:
            Ed25519PublicKey.from_public_bytes(self.key).verify(_decoded(signature), statement)
        except (InvalidSignature, ValueError):
            return False
        return True

    @staticmethod
    def parsed(text: str) -> "Verifier":
        """MalformedNoteError where it is no such key."""
        name, _, rest = text.strip().partition("+")
        said, _, encoded = rest.partition("+")
        data = _decoded(encoded)
        if len(data) != 33 or data[:1] != _ED25519 or not name or re.search(r"[\s\ud800-\udfff]", name):
            raise MalformedNoteError(
                f"{text[:80]!r} is no Ed25519 key: give NAME+ID+BASE64, as status.ledger.publicKey"
            )
        found = Verifier(name, data[1:])
        if found.id.hex() != said:
            raise MalformedNoteError(f"{text[:80]!r}: the id of this key is {found.id.hex()}, not {said[:16]!r}")
        return found


@dataclass(frozen=True)
class Signer:
    """Signs checkpoints of one origin, whose name is that of the key."""

    origin: str
    seed: bytes = field(repr=False)  # 32 bytes

    @property
    def verifier(self) -> Verifier:
        """The public half."""
        return Verifier(self.origin, self._key().public_key().public_bytes_raw())

    def signed(self, size: int, root: bytes, extension: str = "") -> bytes:
        """The note of a checkpoint. The same bytes for the same tree and extension line: Ed25519 draws nothing."""
        text = Checkpoint(self.origin, size, root).text() + (f"{extension}\n" if extension else "")
        said = base64.b64encode(self.verifier.id + self._key().sign(text.encode())).decode()
        return f"{text}\n— {self.origin} {said}\n".encode()

    def signature(self, statement: bytes) -> str:
        """Over other bytes than a note, which say their purpose: base64."""
        return base64.b64encode(self._key().sign(statement)).decode()

    def _key(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)


def checkpoint(data: bytes) -> Checkpoint:
    """What a note says, its signatures unread. MalformedNoteError."""
    origin, size, root, *_ = [*_parts(data)[0].split("\n"), "", ""]
    decoded = _decoded(root)
    if not origin or not _NUMBER.fullmatch(size) or int(size) >= tiles.MAX_SIZE or len(decoded) != merkle.HASH_BYTES:
        raise MalformedNoteError("it is no checkpoint: origin, size and root are its first three lines")
    return Checkpoint(origin, int(size), decoded)


def opened(data: bytes, verifier: Verifier) -> Checkpoint:
    """The checkpoint of a note that this key has signed. MalformedNoteError, WrongSignatureError."""
    text, lines = _parts(data)
    found = checkpoint(data)
    if found.origin != verifier.name:
        raise WrongSignatureError(f"it is of {found.origin[:300]!r}, and the key is that of {verifier.name[:300]!r}")
    for name, said in lines:
        signature = _decoded(said)
        is_its = name == verifier.name and signature[:4] == verifier.id
        if is_its and verifier.verifies(base64.b64encode(signature[4:]).decode(), text.encode()):
            return found
    raise WrongSignatureError(f"it carries no good signature by the key {verifier}")


def _parts(data: bytes) -> tuple[str, list[tuple[str, str]]]:
    """The text that is signed, and by whom it is, with what."""
    if len(data) > MAX_NOTE_BYTES:
        raise MalformedNoteError(f"it has {len(data)} bytes, at most {MAX_NOTE_BYTES} are read")
    try:
        text, blank, signatures = data.decode().rpartition("\n\n")
    except UnicodeDecodeError as error:
        raise MalformedNoteError("it is no UTF-8") from error
    found = [_LINE.fullmatch(line) for line in signatures.removesuffix("\n").split("\n")]
    if not blank or not signatures.endswith("\n") or any(each is None for each in found):
        raise MalformedNoteError("it is no signed note: a blank line and signatures must end it")
    return f"{text}\n", [(each[1], each[2]) for each in found if each is not None]


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
