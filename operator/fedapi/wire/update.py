"""What a site sends of a round: files by name, what is said of them, and the signature beside."""

from typing import Any, ClassVar

from pydantic import Field, model_validator

from fedapi.wire import version1
from fedapi.wire.ciphertext import Kem, Place
from fedapi.wire.compression import Codec
from fedapi.wire.encryptedsum import Tag
from fedapi.wire.message import (
    Inline,
    Message,
    Name,
    Natural,
    ObjectRef,
    Record,
    Sha256,
)
from fedapi.wire.metrics import Metrics
from fedapi.wire.privacy import SaidPrivacy
from fedapi.wire.secureround import Clipped, Masked
from fedapi.wire.signature import SaidKeyId, SignatureText
from fedapi.wire.training import TrainingSettings

MAX_PAYLOADS = 8  # of one update
UPDATE = "update"  # the payload that every strategy has: local - base
CONTROL = "control"  # change of the site's control variate, where training.method asks for it: in the hub state's form


def payloads(training: TrainingSettings) -> frozenset[str]:
    """Those of an update that was trained with these settings: all of them, and no other."""
    controlled = training.method is not None and training.method.control_variates is not None
    return frozenset({UPDATE, CONTROL}) if controlled else frozenset({UPDATE})


class Payload(Message):
    """One file of an update."""

    codec: Codec = Field("None", description="By which the object is encoded: a file of tensors all the same.")
    object: ObjectRef
    encryption: Kem | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="By which the object is encrypted: what it is then lies in its chunks (wire.ciphertext).",
    )
    masked: Masked = False
    clipped: Clipped = 0
    tag: Tag = None


class UpdateManifest(Message):
    """What an update is: files by name, and what is said of them. `canonical()` are the bytes that a signature signs.

    They hold what the site said and no more: a field that a later version adds does not change them.
    """

    said_only: ClassVar[bool] = True

    job_uid: Name
    round: Natural
    attempt: Natural
    client: Name
    base_sha256: Sha256 = Field(
        description="Digest of the committed model that training started from, in the form in which the order brought it."
    )
    payloads: dict[str, Payload] = Field(
        min_length=1, max_length=MAX_PAYLOADS, description="By name; `update` is local - base."
    )
    samples: Natural = Field(description="Training samples, at most clients.maxSamples: the update's weight.")
    steps: Natural | None = Field(None, description="Optimizer steps; unknown from trainers of version 0.1.")
    metrics: Metrics = {}
    training_s: float = Field(ge=0, description="Seconds spent in training alone.")
    nonce: str = Field(min_length=16, max_length=64, description="Same nonce: the same manifest sent again.")
    privacy: SaidPrivacy = None

    @property
    def objects(self) -> tuple[ObjectRef, ...]:
        """Its files, by name."""
        return tuple(self.payloads[name].object for name in sorted(self.payloads))

    def place(self, payload: str) -> Place:
        """What a payload of it was made for."""
        return Place(
            job_uid=self.job_uid,
            round=self.round,
            attempt=self.attempt,
            client=self.client,
            base_sha256=self.base_sha256,
            payload=payload,
        )


class UpdateEnvelope(Record):
    """What is kept of an update. Once it is answered 200 it is durable and never trained again.

    The signature is beside what it signs. The checksum is the hub's, a site sends none.
    """

    said_only: ClassVar[bool] = True

    body: UpdateManifest
    signature: SignatureText | None = Field(None, description="Of the site, over its statement (wire.statement).")
    key_id: SaidKeyId = None

    @model_validator(mode="before")
    @classmethod
    def _version_1(cls, value: Any) -> Any:
        return version1.envelope(value) if isinstance(value, dict) else value


class HandedUpdate(UpdateEnvelope):
    """An update as it is handed in: small payloads are beside what is signed and kept, which has their digests."""

    content: dict[str, Inline] = Field(
        {},
        max_length=MAX_PAYLOADS,
        exclude_if=lambda value: not value,
        description="Payloads that were not put, by name; TrainOrder.inline says how large they may be together.",
    )

    @property
    def envelope(self) -> UpdateEnvelope:
        """What is kept of it."""
        return UpdateEnvelope(body=self.body, signature=self.signature, key_id=self.key_id)
