"""commit.json: a round that happened, and whose updates are in it. Written by the aggregator, and read wherever the history is."""

from typing import Any, Self

from pydantic import Field, model_validator

from fedapi.wire import version1
from fedapi.wire.anomalies import Anomaly, Undoing
from fedapi.wire.job import RollbackTo
from fedapi.wire.ledger import Anchor
from fedapi.wire.message import Message, ObjectRef, Record, Sha256, Whole
from fedapi.wire.metrics import Metrics
from fedapi.wire.privacy import Charge, SaidPrivacy
from fedapi.wire.signature import Signed


class Order(Message):
    """What an update answers: the round and attempt that its site was told, whose base it was trained from."""

    round: int = Field(ge=1)
    attempt: int = Field(ge=1)


class Buffered(Order):
    """An update of an asynchronous round. A site has one in a round at most."""

    client: str


class Participant(Message):
    """A site whose update is in a commit."""

    client: str
    samples: int
    payloads: dict[str, Sha256] = Field(description="Digests by the name of the payload.")
    steps: int | None = None
    training_s: float = 0.0
    sent_bytes: int | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="Of its payloads as they were sent: encoded and encrypted. Not known of rounds that an older version committed.",
    )
    norm: float | None = Field(
        None, ge=0, exclude_if=lambda value: value is None, description="Its Euclidean length, where it was judged."
    )
    cosine: float | None = Field(
        None,
        ge=-1.001,
        le=1.001,
        exclude_if=lambda value: value is None,
        description="To the mean direction of the others of its round, where directions were looked at.",
    )
    order: Order | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="The order that the update answers, where that is not the commit's round and attempt.",
    )
    signed: Signed | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="The site's signature (wire.statement), where the site has a key.",
    )
    privacy: SaidPrivacy = None

    @model_validator(mode="before")
    @classmethod
    def _version_1(cls, value: Any) -> Any:
        return version1.participant(value) if isinstance(value, dict) else value


class Rollback(RollbackTo):
    """What became of a value of spec.rollbackTo. It is decided once, whatever else happens."""

    refused: str = Field("", description="Why nothing was done; empty: this commit is what was done.")


class CommitRecord(Record):
    """commit.json: a round that happened. Round 0 is the initial model. A rollback is a commit, too, without updates."""

    job_uid: str
    round: int = Field(ge=0)
    attempt: int = Field(ge=0)
    epoch: int
    model: ObjectRef
    hub_state: ObjectRef | None = Field(None, description="What the strategy keeps at the hub after this round.")
    initial: Whole = None
    reference: ObjectRef | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="What sites have trained from, where the next model may come as a delta to it. Nothing is lost with it: "
        "without it the next model goes as it is.",
    )
    participants: tuple[Participant, ...] = ()
    total_samples: int = 0
    training_metrics: Metrics = {}
    evaluation_sha256: Sha256 | None = Field(None, description="evaluation.json of the round before, bound by digest.")
    previous_sha256: Sha256 | None = Field(None, description="Digest of the previous commit record.")
    planned_at: float
    committed_at: float
    image: str = ""
    rolled_back_to: int | None = Field(None, ge=0, description="Earlier round whose model and hub state these are.")
    missed: tuple[str, ...] = Field(
        (),
        exclude_if=lambda value: not value,
        description="Sites that were selected for this round, in any attempt, and have no update in it.",
    )
    lost_s: float = Field(
        0.0,
        ge=0,
        exclude_if=lambda value: not value,
        description="Seconds of training for this round that are in no model, as far as the hub knows of them.",
    )
    broadcast_bytes: int | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="Of the base as its participants fetched it, where `compression.download` encoded it.",
    )
    skipped: str = Field(
        "", exclude_if=lambda value: not value, description="Why nobody took part in this round; its model is the last."
    )
    anomalies: tuple[Anomaly, ...] = Field(
        (),
        exclude_if=lambda value: not value,
        description="Anomalous updates for this round, in any attempt. One whose action is not Warn is in no model.",
    )
    rollbacks: tuple[Rollback, ...] = Field(
        (), exclude_if=lambda value: not value, description="Decided since the commit before, this one included."
    )
    undoings: tuple[Undoing, ...] = Field(
        (), exclude_if=lambda value: not value, description="The same of anomalies that rounds are to be undone for."
    )
    ledger: Anchor | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="The ledger as it was then, which is durable before this record counts. Absent where an older version committed.",
    )
    privacy: Charge | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="What its model tells of one site at most; None: nothing bounds it, or nothing new is released.",
    )

    @property
    def objects(self) -> tuple[ObjectRef, ...]:
        """All that one needs to go on from this commit, each once: its model, what the strategy remembers, the initial model."""
        return tuple(dict.fromkeys(ref for ref in (self.model, self.hub_state, self.initial) if ref is not None))

    @model_validator(mode="after")
    def _goes_back(self) -> Self:
        if self.rolled_back_to is not None and self.rolled_back_to >= self.round:
            raise ValueError(f"rolled_back_to is {self.rolled_back_to}, which is not before round {self.round}")
        return self
