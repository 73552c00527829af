"""Base of all wire models, digests and canonical bytes. Used by every module beside it."""

import hashlib
from typing import Annotated

import rfc8785
from pydantic import BaseModel, ConfigDict, Field

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Message(BaseModel):
    """Frozen, strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def canonical(self) -> bytes:
        """Canonical JSON (RFC 8785) of the message, unset optional fields left out: what is hashed and signed."""
        return rfc8785.dumps(self.model_dump(mode="json", exclude_none=True))

    def digest(self) -> str:
        """SHA-256 of the canonical bytes, hex."""
        return hashlib.sha256(self.canonical()).hexdigest()


class ObjectRef(Message):
    """A file by content: where it is in the store, its SHA-256 and its size in bytes."""

    key: str
    sha256: Sha256
    size: int = Field(ge=0)
