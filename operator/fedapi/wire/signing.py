"""Ed25519 (RFC 8032) for statements of sites: a site's private key, and the verification of what it signed.

Loads the `cryptography` package, so nothing beside it imports it: the trainer, the aggregator and the CLI do, where there are keys.
A private key is made from the system's entropy by that package, and is never shown.
"""

import base64
import binascii
from dataclasses import dataclass, field
from typing import Self, TypeVar

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fedapi.wire import statement
from fedapi.wire.secureround import SecureSaid
from fedapi.wire.signature import key_id
from fedapi.wire.site import EvaluationReport, FailureReport
from fedapi.wire.update import HandedUpdate, UpdateEnvelope, UpdateManifest

Signable = TypeVar("Signable", UpdateEnvelope, HandedUpdate, EvaluationReport, FailureReport)


class UnusableKeyError(ValueError):
    """What was read is no private key that a site can sign by; the message says why and never shows it."""


@dataclass(frozen=True)
class SigningKey:
    """A site's private key."""

    _key: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def generated(cls) -> Self:
        """A new one."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def of_pem(cls, data: bytes) -> Self:
        """From an unencrypted PEM file (PKCS #8)."""
        try:
            key = serialization.load_pem_private_key(data, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise UnusableKeyError(
                "it holds no unencrypted private key in PEM: make one by `fedloom site key new`"
            ) from None
        if not isinstance(key, Ed25519PrivateKey):
            raise UnusableKeyError("its private key is not of Ed25519: make one by `fedloom site key new`")
        return cls(key)

    def pem(self) -> bytes:
        """The same."""
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return self._key.private_bytes(*form)

    @classmethod
    def of_seed(cls, seed: bytes) -> Self:
        """From the 32 bytes that are the private key (RFC 8032); ValueError for any other number of them."""
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    def seed(self) -> bytes:
        """The same."""
        return self._key.private_bytes_raw()

    @property
    def raw(self) -> bytes:
        """The 32 bytes of the public key."""
        return self._key.public_key().public_bytes_raw()

    @property
    def public_key(self) -> str:
        """The same as FLClient spec.identity has it."""
        return base64.b64encode(self.raw).decode()

    @property
    def id(self) -> str:
        """Its key id."""
        return key_id(self.raw)

    def signature(self, statement: bytes) -> str:
        """Of a statement: 64 bytes, base64."""
        return base64.b64encode(self._key.sign(statement)).decode()


def signed(key: SigningKey, message: Signable) -> Signable:
    """The message with the signature of what its JSON says: how it was made, with which defaults unsaid, is not in that.

    One that is not even a message (a metric that is no number) stays unsigned: it is refused by its fault.
    """
    try:
        said, text = _read(message)
    except ValueError:
        return message
    return message.model_copy(update={**said, "key_id": key.id, "signature": key.signature(text)})


def signed_secure(key: SigningKey, job_uid: str, client: str, said: SecureSaid) -> SecureSaid:
    """The same of what a site says in an exchange of secure aggregation, which does not name the job and the site."""
    read = SecureSaid.model_validate_json(said.model_dump_json())
    text = statement.of_secure(job_uid, client, read)
    return read.model_copy(update={"key_id": key.id, "signature": key.signature(text)})


def _read(message: UpdateEnvelope | EvaluationReport | FailureReport) -> tuple[dict[str, object], bytes]:
    """What a reader of its JSON has of the part that is signed, and the statement over that."""
    if isinstance(message, UpdateEnvelope):
        body = UpdateManifest.model_validate_json(message.body.model_dump_json())
        return {"body": body}, statement.of_update(body)
    report = type(message).model_validate_json(message.model_dump_json())
    return {name: getattr(report, name) for name in report.model_fields_set}, statement.of_report(report)


def verifies(public_key: bytes, signature: str, statement: bytes) -> bool:
    """Whether the signature is that key's over these bytes."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(base64.b64decode(signature, validate=True), statement)
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True
