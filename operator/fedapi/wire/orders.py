"""What a site is told to do: train in a round, or evaluate a model; and how it comes by all that this takes."""

from typing import Annotated

from pydantic import Field

from fedapi.wire.ciphertext import Kem
from fedapi.wire.compression import Compression, Encoding
from fedapi.wire.download import Download
from fedapi.wire.message import (
    MAX_INLINE_BYTES,
    Inline,
    Message,
    ObjectRef,
    Sha256,
)
from fedapi.wire.privacy import AskedNoise
from fedapi.wire.secureround import Masking
from fedapi.wire.training import TrainingSettings

Initial = Annotated[
    Download | None,
    Field(
        exclude_if=lambda value: value is None,
        description="The initial model, which has the tensors that do not travel: to be kept, and put under `model`. Told in "
        "jobs whose sites all have the feature `exchange`; without it `model` is whole, and all of it travels.",
    ),
]


class InlineUpload(Message):
    """How an update that is small enough is handed in without a grant."""

    max_bytes: int = Field(ge=1, le=MAX_INLINE_BYTES, description="Of all payloads together; a larger one is put.")
    key: str = Field(description="Of a payload's object, with `{sha256}` in the place of its digest.")

    def object(self, sha256: str, size: int) -> ObjectRef:
        """What the manifest says of a payload."""
        return ObjectRef(key=self.key.replace("{sha256}", sha256), sha256=sha256, size=size)


class Encrypt(Message):
    """To whom an update is encrypted (wire.encryption): to the aggregator alone."""

    kem: Kem = Field(description="How the key of an update is sealed.")
    public_key: Inline


class Encoded(Message):
    """That a model comes encoded: what it decodes to is what a site evaluates, trains from, and computes its update against."""

    encoding: Encoding
    base_sha256: Sha256 = Field(
        description="Of the committed model that it was made of: updates and evaluations name it."
    )


class Delta(Message):
    """A shorter way to an order's model, for who has the one before: its values and those of `file`, decoded, are added."""

    of_sha256: Sha256 = Field(description="Of that model before.")
    encoding: Encoding
    file: Download


class Reference(Message):
    """That an order's model is what sites have of a committed one, and that the next may come as a delta to it: it is kept."""

    base_sha256: Sha256 = Field(description="Of that committed model: updates and evaluations name it.")
    delta: Delta | None = Field(None, exclude_if=lambda value: value is None)


class TrainOrder(Message):
    """Take part in a round: start from `model`, which is also evaluated first when `evaluate` is set."""

    round: int
    attempt: int
    model: Download
    encoded: Encoded | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="How to read `model`; in jobs whose sites all have the feature `download`. Without it, it is the model.",
    )
    reference: Reference | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="In jobs whose sites all have the feature `delta`. Without it, `model` is the committed one.",
    )
    evaluate: bool = Field(description="Evaluate the model (of round - 1) on local test data before training.")
    deadline: float = Field(description="Time at which the round closes, by the aggregator's clock.")
    seed: int = Field(description="spec.seed; sites derive their own by wire.seeds.")
    training: TrainingSettings
    inline: InlineUpload | None = Field(
        None, exclude_if=lambda value: value is None, description="Told to sites with the feature `inline`."
    )
    encryption: Encrypt | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="How the update must be encrypted; in jobs whose sites all have the feature `encryption`.",
    )
    compression: Compression | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="How the payload `update` must be encoded; in jobs whose sites all have the feature `compression`.",
    )
    site_noise: AskedNoise = None
    hub_state: Download | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="What the strategy keeps at the hub, where training.method needs it: with control variates, from the "
        "first committed round on.",
    )
    initial: Initial = None
    secure: Masking = None

    @property
    def base_sha256(self) -> str:
        """Digest of the committed model that the order is about."""
        said = self.encoded or self.reference
        return said.base_sha256 if said else self.model.sha256


class EvaluateOrder(Message):
    """Evaluate the model of `round` and train nothing."""

    round: int
    model: Download
    training: TrainingSettings = Field(description="The same as in a round, for its batch size.")
    initial: Initial = None
