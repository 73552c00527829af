"""The messages of version 0.1 as its trainers make and read them: released code, copied, and not to be changed.

What an answer of 0.1 means is in `action`: its table of fedtrainer.agent.answers, which names the error that it raised.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

MAX_METRICS = 32
MAX_METRIC = 1e100  # size of a metric's value: sums of sites stay finite
MAX_SAMPLES = 1 << 40  # of one site: sums of sites stay exact in JSON
Metrics = Annotated[dict[str, float], Field(max_length=MAX_METRICS)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Message(BaseModel):
    """Frozen, strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ObjectRef(Message):
    """A file by content: where it is in the store, its SHA-256 and its size in bytes."""

    key: str
    sha256: Sha256
    size: int = Field(ge=0)


class OptimizerSettings(Message):
    """The optimizer at the sites."""

    name: Literal["SGD", "Adam", "AdamW"] = "SGD"
    learning_rate: float = Field(0.01, gt=0)
    momentum: float = 0.0
    weight_decay: float = 0.0


class TrainingSettings(Message):
    """What a site does in a round; delivered with every plan."""

    epochs: int | None = 1
    local_steps: int | None = None
    batch_size: int = Field(32, ge=1)
    batch_per: Literal["Site", "Rank"] = "Site"
    gradient_accumulation_steps: int = Field(1, ge=1)
    mixed_precision: Literal["None", "BFloat16", "Float16"] = "None"
    learning_rate_scaling: Literal["None", "Linear", "SquareRoot"] = "None"
    warmup_steps: int = Field(0, ge=0)
    checkpoint_every_s: float = Field(10.0, ge=0)
    optimizer: OptimizerSettings = OptimizerSettings()


class NextRequest(Message):
    """A site asks what to do. `doing` is the (round, attempt) that it works on, when it asks in mid-work."""

    wait_s: float = Field(25.0, ge=0, le=60)
    doing: tuple[int, int] | None = None


class Download(Message):
    """An expiring URL for a file, with what its content must be."""

    url: str
    sha256: Sha256
    size: int
    expires_at: float


class TrainOrder(Message):
    """Take part in a round: start from `model`, which is also evaluated first when `evaluate` is set."""

    round: int
    attempt: int
    model: Download
    evaluate: bool = Field(description="Evaluate the model (of round - 1) on local test data before training.")
    deadline: float = Field(description="Time at which the round closes, by the aggregator's clock.")
    seed: int = Field(description="spec.seed; sites derive their own by wire.seeds.")
    training: TrainingSettings


class EvaluateOrder(Message):
    """Evaluate the model of `round` and train nothing."""

    round: int
    model: Download
    training: TrainingSettings = Field(description="The same as in a round, for its batch size.")


class Assignment(Message):
    """What a site is to do. Wait: nothing yet, ask again. Drop: what it does is void, ask again. Done: exit 0."""

    kind: Literal["Train", "Evaluate", "Wait", "Drop", "Done"]
    train: TrainOrder | None = None
    evaluate: EvaluateOrder | None = None
    message: str = ""


class UploadRequest(Message):
    """Announces an update: what will be sent."""

    round: int
    attempt: int
    sha256: Sha256
    size: int = Field(ge=1)


class UploadGrant(Message):
    """How to send it. `object` goes into the manifest."""

    method: Literal["PUT"] = "PUT"
    url: str
    headers: dict[str, str] = {}
    expires_at: float
    object: ObjectRef


class UpdateManifest(Message):
    """What an update is. Once it is answered 200 it is durable and never trained again.

    A seam for signatures: `canonical()` are the bytes that will be signed.
    """

    job_uid: str
    round: int
    attempt: int
    client: str
    base_sha256: Sha256 = Field(description="Digest of the model that training started from.")
    payload: ObjectRef = Field(description="The update file: local - base, safetensors.")
    samples: int = Field(ge=0, description="Training samples, at most MAX_SAMPLES: the update's weight.")
    metrics: Metrics = {}
    training_s: float = Field(ge=0, description="Seconds spent in training alone.")
    nonce: str = Field(min_length=16, max_length=64, description="Same nonce: the same manifest sent again.")


class EvaluationReport(Message):
    """Metrics of a global model on the site's own test data."""

    job_uid: str
    round: int = Field(ge=0)
    client: str
    model_sha256: Sha256
    samples: int = Field(ge=0)
    metrics: Metrics


class FailureReport(Message):
    """The site cannot deliver in this round (training diverged, data unreadable, …)."""

    job_uid: str
    round: int
    attempt: int
    client: str
    reason: Annotated[str, Field(max_length=63)]
    message: Annotated[str, Field(max_length=1024)] = ""


class Receipt(Message):
    """Taken and durable. `duplicate`: it was there already."""

    accepted: bool = True
    duplicate: bool = False


class Refusal(Message):
    """Why a request was not taken. `code` is enumerated, `message` names field, value and way out."""

    code: Literal[
        "Unauthorized", "NotInJob", "StaleRound", "StaleAttempt", "NotSelected", "WrongBase", "WrongDigest", "WrongSize",
        "WrongShape", "NotFinite", "TooLarge", "Malformed", "Expired", "Missing", "Duplicate", "StoreFull", "Stopping",
    ]  # fmt: skip
    message: str


def action(status: int, body: bytes) -> str:
    """What its trainer did after such an answer, by the name of the error."""
    if status // 100 == 2:
        return ""
    try:
        code = Refusal.model_validate_json(body).code
    except ValidationError:
        code = f"HTTP{status}"
    if status in (408, 429) or status >= 500 or code == "NotInJob":
        return "Retry"
    if status in (401, 403):
        return "Refused"
    if status == 409:
        return "Dropped"
    return "LinkExpired" if status in (404, 410) else "Rejected"
