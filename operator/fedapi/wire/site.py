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

from fedapi.wire.message import (
    MAX_EXACT,
    Certificates,
    Message,
    Name,
    Natural,
    ObjectRef,
    Record,
    Sha256,
)
from fedapi.wire.metrics import Metrics
from fedapi.wire.orders import (
    EvaluateOrder,
    TrainOrder,
)
from fedapi.wire.protocol import PROTOCOL
from fedapi.wire.signature import SaidKeyId, SaidSignature

MAX_FEATURES = 32  # of one trainer


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
    accepted: tuple[int, int] | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="Round and attempt of this site's update that was accepted last, where that is in no commit; not told to sites of protocol 1.",
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
