"""The store's records and layout (design: "Store layout and commit rule"). Pure: names and values, no I/O.

Written by the aggregator, read by it on recovery, by the embedded runner and by `fedloom model`.
Every object but HEAD is write-once; HEAD is replaced by compare-and-swap only. Records are sealed when they are
written; models and updates have their digest in their key. What a key says is read by storekey.py beside this module.
"""

from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from fedapi.wire import version1
from fedapi.wire.ciphertext import Kem
from fedapi.wire.job import RollbackTo, StrategySettings, TrainingSettings
from fedapi.wire.message import Message, ObjectRef, Record, Sha256
from fedapi.wire.site import Codec, Metrics


class Head(Record):
    """The only mutable object: which commit is the newest, and whose epoch may move it."""

    epoch: int = Field(
        ge=1, description="Grows by one whenever an aggregator starts; an older one can no longer commit."
    )
    round: int = Field(ge=-1, description="Last committed round; -1 before the initial model.")
    commit_key: str | None = None
    commit_sha256: Sha256 | None = None
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


class Selection(Message):
    """By which rule, and from how many sites, a plan's sites were chosen."""

    policy: Literal["All", "Random"]
    per_round: int | None = None
    fraction: float | None = None
    candidates: int = Field(ge=1)


class Acceptance(Message):
    """Which updates count in a planned round."""

    grace_after_quorum_s: float | None = None
    max_samples: int = Field(ge=1)


class PlanRecord(Record):
    """plan.json: a round as it was planned. Durable before the first site hears of it.

    It holds all that decides which updates count and what is made of them, whatever the configuration says meanwhile.
    """

    job_uid: str
    round: int = Field(ge=1)
    attempt: int = Field(ge=1)
    epoch: int
    base: ObjectRef
    selected: tuple[str, ...] = Field(description="In the order in which updates are folded.")
    selection: Selection | None = Field(None, description="Absent in plans of version 0.1.")
    strategy: StrategySettings = Field(StrategySettings(), description="FedAvg, without numbers, in version 0.1.")
    codec: Codec = "None"
    encryption: Kem | None = Field(None, description="By which updates must be encrypted; None: they must not be.")
    quorum: int | None = Field(None, ge=1, description="Updates needed.")
    acceptance: Acceptance | None = Field(
        None, description="Absent in plans of version 0.1: as the configuration has it."
    )
    planned_at: float
    deadline_s: float
    evaluate_base: bool
    training: TrainingSettings
    image: str = ""


class Participant(Message):
    """A site whose update is in a commit."""

    client: str
    samples: int
    payloads: dict[str, Sha256] = Field(description="Digests by the name of the payload.")
    steps: int | None = None
    training_s: float = 0.0

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
    participants: tuple[Participant, ...] = ()
    total_samples: int = 0
    training_metrics: Metrics = {}
    evaluation_sha256: Sha256 | None = Field(None, description="evaluation.json of the round before, bound by digest.")
    previous_sha256: Sha256 | None = Field(None, description="Digest of the previous commit record.")
    planned_at: float
    committed_at: float
    image: str = ""
    rolled_back_to: int | None = Field(None, ge=0, description="Earlier round whose model and hub state these are.")
    rollbacks: tuple[Rollback, ...] = Field(
        (), exclude_if=lambda value: not value, description="Decided since the commit before, this one included."
    )

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


class FailureRecord(Record):
    """failure.json of an attempt that ended without a commit."""

    job_uid: str
    round: int
    attempt: int
    reason: str
    message: str
    at: float


class CloseRecord(Record):
    """close.json of an attempt that closed without an update of every selected site: only `accepted` is folded.

    Durable before the fold, so that an update which arrives while a restarted aggregator recovers changes nothing.
    """

    job_uid: str
    round: int
    attempt: int
    accepted: tuple[str, ...]
    reason: str
    at: float


Method = Literal["GET", "PUT"]


class Issue(Message):
    """An object that URLs were made for, and whom for."""

    method: Method
    object: ObjectRef
    holders: dict[str, float] = Field(description="`SITE/ROUND/ATTEMPT`: when the newest URL for it expires.")


class IssueRecord(Record):
    """issues.json beside a commit: what was issued since the one before it, or since the aggregator's start. Never a URL."""

    job_uid: str
    round: int
    attempt: int
    since: float
    until: float
    issues: tuple[Issue, ...]
    omitted: int = Field(0, description="How many more there were.")


UPDATE_SUFFIX = ".safetensors"
ENCRYPTED_SUFFIX = ".enc"  # after the other


@dataclass(frozen=True)
class Layout:
    """Keys of one job's objects, relative to the store's root."""

    namespace: str
    name: str
    uid: str

    @property
    def _job(self) -> str:
        return f"{self.namespace}/{self.name}-{self.uid}"

    @property
    def head(self) -> str:
        """Key of HEAD."""
        return f"control/{self._job}/HEAD.json"

    @property
    def restored(self) -> str:
        """Key of the record that a restore leaves."""
        return f"control/{self._job}/restored.json"

    def inside(self, key: str) -> str | None:
        """A key without the job: `models/000007-….safetensors`; None when it is another job's."""
        kind, found, rest = key.partition(f"/{self._job}/")
        return f"{kind}/{rest}" if found and "/" not in kind else None

    def at(self, inside: str) -> str:
        """The inverse: where that is in this job's store."""
        kind, _, rest = inside.partition("/")
        return f"{kind}/{self._job}/{rest}"

    def attempt(self, round_: int, epoch: int, attempt: int) -> str:
        """Prefix of the records of one attempt by one aggregator."""
        return f"control/{self._job}/rounds/{round_:06d}/e{epoch}-a{attempt}"

    def record(self, round_: int, epoch: int, attempt: int, name: str) -> str:
        """Key of a record of that attempt."""
        return f"{self.attempt(round_, epoch, attempt)}/{name}"

    def rounds(self) -> str:
        """Prefix of all rounds."""
        return f"control/{self._job}/rounds"

    def round(self, round_: int) -> str:
        """Prefix of one round: every attempt by every epoch."""
        return f"{self.rounds()}/{round_:06d}"

    def models(self) -> str:
        """Prefix of all models."""
        return f"models/{self._job}"

    def model(self, round_: int, sha256: str) -> str:
        """Key of a model."""
        return f"{self.models()}/{round_:06d}-{sha256}{UPDATE_SUFFIX}"

    def hub_states(self) -> str:
        """Prefix of what strategies remember at the hub."""
        return f"hubstate/{self._job}"

    def hub_state(self, round_: int, sha256: str) -> str:
        """Key of what a strategy remembers after a round."""
        return f"{self.hub_states()}/{round_:06d}-{sha256}{UPDATE_SUFFIX}"

    def all_updates(self) -> str:
        """Prefix of all clients' updates."""
        return f"updates/{self._job}"

    def updates(self, client: str) -> str:
        """Prefix of one client's updates: a department can be isolated by it."""
        return f"{self.all_updates()}/{client}"

    def update(self, client: str, round_: int, sha256: str, *, encrypted: bool = False) -> str:
        """Key of an update."""
        suffix = UPDATE_SUFFIX + (ENCRYPTED_SUFFIX if encrypted else "")
        return f"{self.updates(client)}/client_{client}_round_{round_}-{sha256}{suffix}"

    def manifest(self, client: str, round_: int, attempt: int) -> str:
        """Key of one client's accepted manifest: write-once, so an update counts once per round and attempt."""
        return f"{self.updates(client)}/client_{client}_round_{round_}-a{attempt}.manifest.json"

    def evaluation_report(self, client: str, round_: int) -> str:
        """Key of one client's evaluation of a model."""
        return f"{self.updates(client)}/client_{client}_round_{round_}.evaluation.json"

    def entrusted(self, client: str) -> str:
        """Prefix of the states that one client has entrusted."""
        return f"checkpoints/{self._job}/{client}"

    def entrusted_state(self, client: str, round_: int, attempt: int, update_sha256: str, sha256: str) -> str:
        """Key of a state, encrypted by its site: that which the update of this digest has left."""
        name = f"client_{client}_round_{round_}-a{attempt}-{update_sha256}-{sha256}"
        return f"{self.entrusted(client)}/{name}{UPDATE_SUFFIX}{ENCRYPTED_SUFFIX}"
