"""Messages between a site's trainer (agent) and the aggregator: JSON over HTTPS, the site always asks.

Routes (all need `Authorization: Bearer <site token>` but the blob routes, whose URL is the authorization):

    POST /v1/sites/{client}/next         NextRequest    -> Assignment   (long poll: held up to wait_s)
    POST /v1/sites/{client}/uploads      UploadRequest  -> UploadGrant
    POST /v1/sites/{client}/updates      HandedUpdate   -> Receipt
    POST /v1/sites/{client}/evaluations  EvaluationReport -> Receipt
    POST /v1/sites/{client}/failures     FailureReport  -> Receipt
    POST /v1/sites/{client}/entrust      EntrustRequest -> EntrustAnswer
    POST /v1/sites/{client}/recall       RecallRequest  -> Recalled
    POST /v1/sites/{client}/attest       AttestationRequest -> Attestation
    POST /v1/sites/{client}/secure       SecureSaid     -> SecureAnswer   (wire.secureround; long poll)
    GET|PUT {url of a grant}             bytes          (expiring, bound to method, key, size and digest)

A URL may lead to an object store, which answers in its own words: 412 says that the object is there already, any other refusal
that a new URL is needed. A round of a small model is three requests of a site: the model comes in the order, the update goes in
`updates`. A larger one is fetched by URL, announced at `uploads` and PUT, as everything is for a site without the feature `inline`.

A site may entrust its state to the hub, encrypted by a key of its own, and recall it: it asks `entrust`, puts what it has where the
grant says, and asks again, whereupon no grant says that the hub has it.

The hub refuses unknown fields; sites ignore them. A site of a version or with features that do not fit is told so at `next`.
An error answer is a Refusal with a 4xx or 5xx status: 401 the token is wrong (give up), 403 not in the roster (yet: retry), 409 stale or duplicate
(drop the work, ask next), 410 expired URL (ask for a new one), 413/422 the content is bad (do not resend), 408/503 retry. Limits of the
HTTP itself (431, 414, 400) are answered with Malformed; docs/security.md lists them.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from fedapi.wire import version1
from fedapi.wire.ciphertext import Kem, Place
from fedapi.wire.compression import Codec, Compression, Encoding
from fedapi.wire.message import (
    MAX_EXACT,
    MAX_INLINE_BYTES,
    Certificates,
    Inline,
    Message,
    Name,
    Natural,
    ObjectRef,
    Record,
    Sha256,
)
from fedapi.wire.privacy import AskedNoise, SaidPrivacy
from fedapi.wire.protocol import PROTOCOL
from fedapi.wire.secureround import Clipped, Masked, Masking
from fedapi.wire.signature import SaidKeyId, SaidSignature, SignatureText
from fedapi.wire.training import TrainingSettings

MAX_METRICS = 32  # of one report
MAX_METRIC_NAME = 63  # characters
MAX_METRIC = 1e100  # size of a metric's value: sums of sites stay finite
MAX_SAMPLES = 1 << 40  # of one site, whatever the job allows: sums of sites stay exact in JSON
MAX_PAYLOADS = 8  # of one update
MAX_FEATURES = 32  # of one trainer
UPDATE = "update"  # the payload that every strategy has: local - base
CONTROL = "control"  # change of the site's control variate, where training.method asks for it: in the hub state's form
Metrics = Annotated[dict[str, float], Field(max_length=MAX_METRICS)]


def payloads(training: TrainingSettings) -> frozenset[str]:
    """Those of an update that was trained with these settings: all of them, and no other."""
    controlled = training.method is not None and training.method.control_variates is not None
    return frozenset({UPDATE, CONTROL}) if controlled else frozenset({UPDATE})


class NextRequest(Message):
    """A site asks what to do. `doing` is the (round, attempt) that it works on, when it asks in mid-work."""

    wait_s: float = Field(25.0, ge=0, le=300)
    doing: tuple[Natural, Natural] | None = None
    protocol: int = Field(1, ge=1, le=MAX_EXACT, description="The newest version that the site speaks (wire.protocol).")
    oldest_protocol: int = Field(1, ge=1, le=MAX_EXACT, description="The oldest in which it can be answered.")
    features: tuple[Annotated[str, Field(max_length=63)], ...] = Field(
        (), max_length=MAX_FEATURES, description="What its trainer can do beside."
    )

    @model_validator(mode="before")
    @classmethod
    def _newer(cls, value: Any) -> Any:
        """What a newer site says beside is ignored, so that it can be answered, or told that it is newer."""
        protocol = value.get("protocol") if isinstance(value, dict) else None
        if not isinstance(protocol, int) or protocol <= PROTOCOL:
            return value
        return {name: said for name, said in value.items() if name in cls.model_fields}


class Download(Message):
    """An expiring URL for a file, with what its content must be."""

    url: str
    sha256: Sha256
    size: int
    expires_at: float
    ca: Certificates = None
    content: Inline | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="The file itself, where it is small; told to sites with the feature `inline`.",
    )


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


class Assignment(Message):
    """What a site is to do. Wait: nothing yet, ask again. Drop: what it does is void, ask again. Done: exit 0."""

    kind: Literal["Train", "Evaluate", "Wait", "Drop", "Done"]
    train: TrainOrder | None = None
    evaluate: EvaluateOrder | None = None
    message: str = ""
    committed: tuple[int, int] | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="Round and attempt of this site's update that was committed last; not told to sites of protocol 1.",
    )
    committed_sha256: Sha256 | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="Of that update's payload `update`: a store that was put back has another update of the same round and attempt.",
    )
    taken_back: bool = Field(
        False,
        exclude_if=lambda value: not value,
        description="The job went back to a model that has none of this site's updates: it begins anew. Not told to sites of protocol 1.",
    )


class UploadRequest(Message):
    """Announces an update: what will be sent."""

    round: Natural
    attempt: Natural
    sha256: Sha256
    size: int = Field(ge=1, le=MAX_EXACT)


class UploadGrant(Message):
    """How to send it. `object` goes into the manifest."""

    method: Literal["PUT"] = "PUT"
    url: str
    headers: dict[str, str] = Field({}, description="To be sent as they are: what is signed holds for these alone.")
    expires_at: float
    object: ObjectRef
    ca: Certificates = None


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


class EvaluationReport(Record):
    """Metrics of a global model on the site's own test data. The signature is beside the rest, which it signs."""

    said_only: ClassVar[bool] = True

    job_uid: Name
    round: Natural
    client: Name
    model_sha256: Sha256
    samples: Natural
    metrics: Metrics
    signature: SaidSignature = None
    key_id: SaidKeyId = None


class FailureReport(Message):
    """The site cannot deliver in this round (training diverged, data unreadable, …). Signed as an evaluation is."""

    said_only: ClassVar[bool] = True

    job_uid: Name
    round: Natural
    attempt: Natural
    client: Name
    reason: Annotated[str, Field(max_length=63)]
    message: Annotated[str, Field(max_length=1024)] = ""
    signature: SaidSignature = None
    key_id: SaidKeyId = None


class Receipt(Message):
    """Taken and durable. `duplicate`: it was there already."""

    accepted: bool = True
    duplicate: bool = False


class Refusal(Message):
    """Why a request was not taken. `code` is enumerated, `message` names field, value and way out."""

    code: Literal[
        "Unauthorized", "NotInJob", "StaleRound", "StaleAttempt", "NotSelected", "WrongBase", "WrongDigest", "WrongSize",
        "WrongShape", "NotFinite", "TooLarge", "Malformed", "Expired", "Missing", "Duplicate", "StoreFull", "Stopping",
        "Busy", "TooSlow", "Incomplete", "Incompatible", "Unsigned", "UnknownKey", "RevokedKey", "WrongSignature",
    ]  # fmt: skip
    message: str
