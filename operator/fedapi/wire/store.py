"""The store's records and layout (design: "Store layout and commit rule"). Pure: names and values, no I/O.

Written by the aggregator, read by it on recovery, by the embedded runner and by `fedloom model`.
Every object but HEAD is write-once; HEAD is replaced by compare-and-swap only. Records are sealed when they are
written. Where they are is in layout.py beside this module.
"""

from bisect import bisect_left
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from fedapi.wire import version1
from fedapi.wire.anomalies import Anomaly, AnomalySettings, Undoing
from fedapi.wire.ciphertext import Kem
from fedapi.wire.compression import Broadcast, Codec, Compression
from fedapi.wire.job import Policy, RollbackTo, StrategySettings, TrainingOverride, TrainingSettings
from fedapi.wire.message import Message, Natural, ObjectRef, Record, Sha256
from fedapi.wire.privacy import Charge, ChargedFailure, Mechanism, SaidPrivacy, SiteNoise
from fedapi.wire.secureround import PlannedMasks, SummedGroups
from fedapi.wire.signature import SignatureText, Signed
from fedapi.wire.site import Metrics

Whole = Annotated[ObjectRef | None, Field(exclude_if=lambda value: value is None)]  # over which others are whole


class Head(Record):
    """The only mutable object: which commit is the newest, and whose epoch may move it."""

    epoch: int = Field(ge=1, description="Grows by one whenever an aggregator starts; an older one cannot commit.")
    round: int = Field(ge=-1, description="Last committed round; -1 before the initial model.")
    commit_key: str | None = None
    commit_sha256: Sha256 | None = None
    commit_signature: SignatureText | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="Over that commit (wire.signedcommit), by the key of the job's ledger. Absent where an older version, or a repair, set HEAD.",
    )
    finished: Literal["Succeeded", "Failed"] | None = None
    reason: str = ""
    message: str = ""
    finished_at: float | None = None
    lineage: tuple[str, ...] = Field(
        (),
        description="Uids of the jobs whose commits this one goes on from since a restore, oldest first.",
        exclude_if=lambda value: not value,  # HEAD of a job that was never restored stays what it was
    )

    def uids(self, own: str) -> frozenset[str]:
        """Uids that records of this store may say."""
        return frozenset((own, *self.lineage))


class RestoreRecord(Record):
    """restored.json: that this job's history was put here from a backup. Written before its HEAD."""

    backup: str = Field(description="Key of the backup's manifest.")
    manifest_sha256: Sha256
    lineage: tuple[str, ...]
    round: int = Field(ge=0)
    at: float


class Anchor(Message):
    """A state of the job's ledger: how many entries it has, and the root of the tree over them."""

    size: Natural
    root: Sha256


class LedgerRestart(Record):
    """restart.json: that a repair found the job's ledger broken, and put it aside. Written by the repair."""

    number: int = Field(ge=1, description="Of these repairs.")
    reason: str = Field(description="What was broken.")
    size: Natural | None = Field(None, description="Entries that the last checkpoint had, as far as it can be read.")
    root: Sha256 | None = Field(None, description="The root that it had.")
    commit_sha256: Sha256 | None = Field(None, description="HEAD's commit then, which the next ledger goes on from.")
    at: float


class Selection(Message):
    """By which rule, and from how many sites, a plan's sites were chosen."""

    policy: Policy
    per_round: int | None = None
    fraction: float | None = None
    candidates: int = Field(ge=1)
    over_selection: float | None = Field(None, exclude_if=lambda value: value is None)


class Overridden(TrainingOverride):
    """What some of a plan's sites do otherwise than its `training` says."""

    clients: tuple[str, ...] = Field(description="By name.")

    def holds(self, client: str) -> bool:
        """Whether it is one of them."""
        at = bisect_left(self.clients, client)
        return at < len(self.clients) and self.clients[at] == client


class Acceptance(Message):
    """Which updates count in a planned round."""

    grace_after_quorum_s: float | None = None
    max_samples: int = Field(ge=1)
    max_staleness: int | None = Field(
        None,
        ge=0,
        exclude_if=lambda value: value is None,
        description="In asynchronous rounds: commits between an update's base and this round's.",
    )


class PlanRecord(Record):
    """plan.json: a round as it was planned. Durable before the first site hears of it.

    It holds all that decides which updates count and what is made of them, whatever the configuration says meanwhile.
    """

    job_uid: str
    round: int = Field(ge=1)
    attempt: int = Field(ge=1)
    epoch: int
    base: ObjectRef
    broadcast: Broadcast | None = Field(
        None, exclude_if=lambda value: value is None, description="How sites get the base; None: as it is."
    )
    reference: ObjectRef | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="What sites train from, where the next model may come as a delta to it: the base, or what a delta makes.",
    )
    selected: tuple[str, ...] = Field(description="In the order in which updates are folded.")
    selection: Selection | None = Field(None, description="Absent in plans of version 0.1.")
    strategy: StrategySettings = Field(StrategySettings(), description="FedAvg, without numbers, in version 0.1.")
    codec: Codec = Field("None", description="By which updates must be encoded.")
    compression: Compression | None = Field(
        None, exclude_if=lambda value: value is None, description="The same with its parameters; None with codec None."
    )
    encryption: Kem | None = Field(None, description="By which updates must be encrypted; None: they must not be.")
    quorum: int | None = Field(None, ge=1, description="Updates needed.")
    wanted: int | None = Field(
        None,
        ge=1,
        exclude_if=lambda value: value is None,
        description="With over-selection, and in asynchronous rounds: so many updates close the round.",
    )
    acceptance: Acceptance | None = Field(
        None, description="Absent in plans of version 0.1: as the configuration has it."
    )
    initial: Whole = None
    anomalies: AnomalySettings | None = Field(
        None, exclude_if=lambda value: value is None, description="By what its updates are judged; None: they are not."
    )
    planned_at: float
    deadline_s: float
    evaluate_base: bool
    training: TrainingSettings
    overrides: tuple[Overridden, ...] = Field((), exclude_if=lambda value: not value)
    privacy: Mechanism | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="How the hub clips updates and what noise it adds; None: neither.",
    )
    site_noise: SiteNoise | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="How the sites clip their updates and what noise they add; None: neither.",
    )
    secure: PlannedMasks = None
    image: str = ""

    @property
    def fetched(self) -> ObjectRef:
        """What sites fetch as their model, or as the delta that makes it."""
        return self.broadcast.object if self.broadcast else self.base

    @property
    def offered(self) -> tuple[ObjectRef, ...]:
        """All that sites may fetch as their model."""
        return (self.fetched,) if self.reference is None else (self.fetched, self.reference)

    def training_of(self, client: str) -> TrainingSettings:
        """What that site does in this round."""
        own = next((each for each in self.overrides if each.holds(client)), None)
        return own.of(self.training) if own else self.training


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
    groups: SummedGroups = ()
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


class EvaluationRecord(Record):
    """evaluation.json: metrics of the model of `round`, as far as sites reported them when it was closed."""

    job_uid: str
    round: int = Field(ge=0)
    model_sha256: Sha256
    metrics: Metrics
    samples: int
    clients: dict[str, Metrics] = {}
    client_samples: dict[str, int] = {}
    held_out_missing: tuple[str, ...] = Field(
        (),
        exclude_if=lambda value: not value,
        description="Held-out sites that were to evaluate this model and had not when the round after it was committed. "
        "One that does so later has a record of its own all the same.",
    )


class FailureRecord(Record):
    """failure.json of an attempt that ended without a commit."""

    job_uid: str
    round: int
    attempt: int
    reason: str
    message: str
    at: float
    missed: tuple[str, ...] = Field(
        (), exclude_if=lambda value: not value, description="Selected sites that had no update in it."
    )
    open_s: float = Field(0.0, ge=0, exclude_if=lambda value: not value, description="Seconds since its plan.")
    lost_s: float = Field(
        0.0,
        ge=0,
        exclude_if=lambda value: not value,
        description="Seconds of training, as far as the hub knows of them.",
    )
    dropped: tuple[Buffered, ...] = Field(
        (),
        exclude_if=lambda value: not value,
        description="In asynchronous rounds: accepted updates that count no more, because no model came of them.",
    )
    anomalies: tuple[Anomaly, ...] = Field(
        (), exclude_if=lambda value: not value, description="Anomalous updates of it."
    )
    privacy: ChargedFailure = None
    site_noise: SiteNoise | None = Field(
        None, exclude_if=lambda value: value is None, description="Of its plan: sites may have sent updates with it."
    )


class CloseRecord(Record):
    """close.json of an attempt that closed without an update of every selected site, or for which one trained in vain.

    Only `accepted` is folded. Durable before the fold, so that an update which arrives while a restarted aggregator recovers changes nothing.
    """

    job_uid: str
    round: int
    attempt: int
    accepted: tuple[str, ...]
    reason: str
    at: float
    lost_s: float = Field(
        0.0, ge=0, exclude_if=lambda value: not value, description="Seconds trained in vain in this attempt, as above."
    )
    buffer: tuple[Buffered, ...] = Field(
        (),
        exclude_if=lambda value: not value,
        description="In asynchronous rounds: the accepted updates, in the order in which they are folded.",
    )
