"""What a backup says of itself, and what a verification found: signed records. Pure.

The bytes that are signed are the canonical JSON of the body as it is stored: what a newer version says beside is under the
signature too. The public key lies in the body; that it is the right one only who has it from elsewhere can tell.
"""

import hashlib
import json
from typing import Any, Literal, TypeVar

import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import Field, ValidationError

from fedapi.wire.layout import Layout
from fedapi.wire.message import UPGRADE, Message, Natural, Sha256, number
from fedapi.wire.metrics import Metrics
from fedapi.wire.tokens import backup_seed
from fedbackup.errors import NotRestorableError, Reason

FORMAT = 1  # of the archive; one that is newer is refused by name
HEAD = "control/HEAD.json"


class Entry(Message):
    """An object of a backup."""

    path: str = Field(description="Its key in the job's store without the job, or api/…: what the API server had.")
    sha256: Sha256
    size: Natural
    since: float = Field(description="When it was first archived.")
    cold: bool = Field(False, description="It was sent to a cold class.", exclude_if=lambda value: not value)


class Recorded(Message):
    """What the sites measured of a model that is in the backup: what a verification is compared with."""

    round: int = Field(ge=0)
    model_sha256: Sha256
    metrics: Metrics
    samples: int


class Manifest(Message):
    """A backup: all that belongs to it, and what it is of."""

    format: int = Field(FORMAT, ge=1)
    tool: str = Field(description="Version of Fedloom that made it.")
    namespace: str
    job: str
    uid: str
    sequence: int = Field(ge=1, description="Number among the job's backups; clocks may jump, this does not.")
    created_at: float
    round: int = Field(ge=0, description="Last committed round.")
    commit_sha256: Sha256
    models: tuple[int, ...] = Field(description="Rounds whose models are in it.")
    recorded: Recorded | None = None
    entries: tuple[Entry, ...]
    bytes: Natural = Field(description="Of all entries.")
    new_bytes: Natural = Field(description="Of those that this backup copied.")
    seconds: float
    left_out: dict[str, str] = Field(default={}, description="Damaged at the source, by path: why.")
    shrunken: str = Field("", description="Why it holds less than another that is kept; empty when it does not.")
    public_key: str = Field(pattern=r"^[0-9a-f]{64}$", description="Ed25519, hex.")

    @property
    def layout(self) -> Layout:
        """Where the objects were."""
        return Layout(self.namespace, self.job, self.uid)


class Evidence(Message):
    """What became of a verification."""

    format: int = Field(FORMAT, ge=1)
    tool: str
    backup: str = Field(description="Key of the manifest.")
    manifest_sha256: Sha256 | None = None
    result: Literal["Verified", "Failed"]
    reason: str = ""
    message: str = ""
    at: float
    objects: int = Field(0, description="That belong to it.")
    unread: int = Field(0, description="Of those, in a cold class: they are there, and were not read.")
    bytes: Natural = 0
    restore_seconds: float = 0.0
    round: int | None = Field(None, description="Whose model was evaluated.")
    model_sha256: Sha256 | None = None
    tensors: int = 0
    metric: str = ""
    recorded: float | None = None
    measured: float | None = None
    tolerance: float | None = None
    samples: int = 0
    damaged: tuple[Sha256, ...] = Field((), description="Objects that the next backup copies again.")
    public_key: str = Field(
        "", pattern=r"^([0-9a-f]{64})?$", description="Empty where nobody signs it: then it is not kept."
    )


_S = TypeVar("_S", Manifest, Evidence)


class Signer:
    """Signs what one job's backups say; its key derives from the job's."""

    def __init__(self, job_key: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(backup_seed(job_key))
        self.public_key = self._key.public_key().public_bytes_raw().hex()

    def signed(self, body: Manifest | Evidence) -> bytes:
        """The record as it is stored."""
        canonical = body.canonical()
        return rfc8785.dumps({"body": json.loads(canonical), "signature": self._key.sign(canonical).hex()})


def opened(kind: type[_S], key: str, data: bytes, pinned: str = "") -> _S:
    """The record of stored bytes. NotRestorableError names what is wrong with them."""
    table, body = _table(key, data)
    claimed = body.get("public_key", "")
    try:
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(claimed))
        public.verify(bytes.fromhex(table["signature"]), rfc8785.dumps(body))
    except (InvalidSignature, ValueError, TypeError, KeyError, RecursionError) as error:
        raise NotRestorableError(Reason.WRONG_SIGNATURE, f"{key}: its signature is not that of its content") from error
    if pinned and claimed != pinned:
        text = f"{key} is signed with the key {claimed}, not with {pinned}: somebody else made it"
        raise NotRestorableError(Reason.WRONG_SIGNATURE, text)
    if isinstance(body.get("format"), int) and body["format"] > FORMAT:
        text = f"{key} has format {body['format']}, this version reads {FORMAT}: {UPGRADE}"
        raise NotRestorableError(Reason.VERSION_TOO_OLD, text)
    try:
        return kind.model_validate(body, extra="ignore")
    except ValidationError as error:
        fault = error.errors()[0]
        text = f"{key}: {'.'.join(map(str, fault['loc']))}: {fault['msg']}: {UPGRADE}"
        raise NotRestorableError(Reason.VERSION_TOO_OLD, text) from error


def _table(key: str, data: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        table = json.loads(data, parse_int=number)
        return table, {**table["body"]}
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise NotRestorableError(Reason.BACKUP_DAMAGED, f"{key} is not what was written: {str(error)[:200]}") from error


def digest(data: bytes) -> str:
    """SHA-256, hex."""
    return hashlib.sha256(data).hexdigest()
