"""Base of all wire models and of stored records: digests, canonical bytes, checksums. Used by every module beside it."""

import base64
import hashlib
import json
from typing import Annotated, Any, ClassVar, Self

import rfc8785
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError

MAX_EXACT = (1 << 53) - 1  # RFC 8785, and every reader whose numbers are doubles
LONGEST_NAME = 253  # characters of a name or a uid, as Kubernetes has them
UPGRADE = "go on with the version of Fedloom that wrote it, or with a newer one"
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Natural = Annotated[int, Field(ge=0, le=MAX_EXACT)]  # a record can hold it, and a line of text
Name = Annotated[str, Field(max_length=LONGEST_NAME)]
MAX_INLINE_BYTES = 1 << 20  # of what travels in a message, whatever a hub allows


def _decoded(value: Any) -> Any:
    return base64.b64decode(value, validate=True) if isinstance(value, str) else value


def _encoded(value: bytes) -> str:
    return base64.b64encode(value).decode()


Inline = Annotated[  # bytes of a small object, in JSON as base64 (RFC 4648 section 4)
    bytes,
    BeforeValidator(_decoded),
    PlainSerializer(_encoded, return_type=str, when_used="json"),
    Field(max_length=MAX_INLINE_BYTES),
]
MAX_CA = 32 << 10  # characters of an object store's CA certificates
Certificates = Annotated[  # not told to sites of protocol 1
    str | None,
    Field(
        max_length=MAX_CA,
        exclude_if=lambda value: value is None,
        description="PEM: by which the URL's server is verified, in place of the system's roots.",
    ),
]


class Message(BaseModel):
    """Frozen. Made, or taken by the hub, it has no unknown fields; `told` ignores them."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    said_only: ClassVar[bool] = False  # whether defaults, too, are left out of the canonical bytes

    @classmethod
    def told(cls, data: bytes) -> Self:
        """The message in these bytes, as sites and readers of records take it: what a newer version says beside is ignored."""
        return cls.model_validate_json(data, extra="ignore")

    def canonical(self) -> bytes:
        """Canonical JSON (RFC 8785) of the message, unset optional fields left out: what is hashed and signed."""
        return rfc8785.dumps(self.model_dump(mode="json", exclude_none=True, exclude_unset=self.said_only))

    def digest(self) -> str:
        """SHA-256 of the canonical bytes, hex."""
        return hashlib.sha256(self.canonical()).hexdigest()


def number(digits: str) -> int | float:
    """What was written as these digits: RFC 8785 writes floats without a point up to 1e21, and no integer that large."""
    whole = int(digits)
    return whole if abs(whole) <= MAX_EXACT else float(digits)


class DamagedRecordError(ValueError):
    """The bytes are not the record that was written; the message says what is wrong with them."""


class NewerRecordError(ValueError):
    """The bytes are what was written, and a newer version wrote them. Not damage: to leave them out would lose what they say."""


class Record(Message):
    """A message that is kept. Sealed, it carries a checksum, so that any changed byte is found when it is read."""

    checksum: Sha256 | None = Field(
        None, description="SHA-256 of the canonical record without this field; absent in records of version 0.1."
    )

    def sealed(self) -> Self:
        """The record with its checksum: what is stored, and what `digest` of a stored record is made of."""
        bare = self.model_copy(update={"checksum": None})
        return self.model_copy(update={"checksum": bare.digest()})

    @classmethod
    def stored(cls, data: bytes) -> Self:
        """The record of stored bytes. DamagedRecordError when they are none, or when the checksum is not theirs.

        NewerRecordError when the checksum is theirs, and this version cannot read them.
        """
        try:
            table = json.loads(data, parse_int=number)
            checksum = table.pop("checksum", None) if isinstance(table, dict) else None
            whole = checksum in (None, hashlib.sha256(rfc8785.dumps(table)).hexdigest())
        except (ValueError, RecursionError) as error:
            raise DamagedRecordError(f"it is not canonical JSON: {str(error)[:200]}") from error
        if not whole:
            raise DamagedRecordError("its content is not what was written (wrong checksum)")
        if checksum is not None:
            return cls.bound(data)
        try:
            return cls.model_validate_json(data)  # of 0.1, which said nothing that is unknown now
        except ValidationError as error:
            raise DamagedRecordError(cls._fault(error)) from error

    @classmethod
    def bound(cls, data: bytes) -> Self:
        """The same of bytes whose digest was checked already, against what they are bound to."""
        try:
            return cls.told(data)
        except ValidationError as error:
            raise NewerRecordError(f"{cls._fault(error)}: {UPGRADE}") from error

    @classmethod
    def _fault(cls, error: ValidationError) -> str:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        return f"it is no {cls.__name__} of this version: {where + ': ' if where else ''}{fault['msg']}"[:300]


class ObjectRef(Message):
    """A file by content: where it is in the store, its SHA-256 and its size in bytes."""

    key: str
    sha256: Sha256
    size: Natural


Whole = Annotated[ObjectRef | None, Field(exclude_if=lambda value: value is None)]  # what others are whole with
