"""What must be done next, as values, in the order in which it must become durable. Pure.

Returned by `machine.step`, carried out by fedaggregator.engine (and by an in-memory interpreter in tests).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from fedapi.wire.anomalies import AnomalySettings
from fedapi.wire.ciphertext import Place
from fedapi.wire.commit import CommitRecord
from fedapi.wire.job import EvaluationRequest, RollbackTo
from fedapi.wire.message import ObjectRef
from fedapi.wire.plan import PlanRecord
from fedapi.wire.privacy import Mechanism
from fedapi.wire.secureround import StepRecord
from fedapi.wire.store import CloseRecord, EvaluationRecord, FailureRecord
from fedapi.wire.strategy import StrategySettings
from fedapi.wire.training import TrainingSettings
from fedapi.wire.update import Payload, UpdateManifest
from fedcore.rounds.outgoing import Outgoing
from fedcore.rounds.state import End

if TYPE_CHECKING:
    from fedcore.secagg.hub import HubState


@dataclass(frozen=True)
class WritePlan:
    """Make the plan durable; no site hears of it before."""

    plan: PlanRecord


@dataclass(frozen=True)
class WriteClose:
    """Make durable which updates count, where not every selected site delivered."""

    close: CloseRecord


@dataclass(frozen=True)
class WriteStep:
    """Make durable what sites said in a step of an exchange that is closed; nobody hears of it before."""

    step: StepRecord


@dataclass(frozen=True)
class WriteFailure:
    """Record an attempt that ended without a commit."""

    failure: FailureRecord


@dataclass(frozen=True)
class Origin:
    """The order that an update of an asynchronous round answers, and the model that it was trained from."""

    round: int
    attempt: int
    base_sha256: str


@dataclass(frozen=True)
class Term:
    """One site's part in a fold: its files, and what a strategy may weigh them by."""

    client: str
    payloads: Mapping[str, Payload]
    samples: int
    steps: int | None  # unknown from trainers of version 0.1
    origin: Origin | None = None  # where it answers another order than that of the fold
    width: float | None = None  # of the sub-model that was trained; None: the whole model
    sites: tuple[str, ...] = ()  # of a group, whose mean it is

    @property
    def owners(self) -> frozenset[str]:
        """The site or sites whose update it is."""
        return frozenset(self.sites or (self.client,))


@dataclass(frozen=True)
class Judging:
    """By what the updates of a fold are judged, before it is made of those that count."""

    settings: AnomalySettings
    usual: Mapping[str, tuple[float, ...]]  # lengths of the last updates of each site
    quorum: int  # updates without which there is no model


@dataclass(frozen=True)
class Fold:
    """Make the next model by the plan's strategy, and answer with `Folded`, `FoldFailed` or `UpdatesDamaged`."""

    round: int
    attempt: int
    base: ObjectRef
    strategy: StrategySettings
    terms: tuple[Term, ...]  # in plan order
    hub_state: ObjectRef | None = None  # what the strategy kept after the last commit
    training: TrainingSettings = field(default_factory=TrainingSettings)  # of the plan
    seed: int = 0  # of this attempt, for a strategy that draws
    initial: ObjectRef | None = None  # the initial model, where the plan names it: it says what sub-models are
    privacy: Mechanism | None = None  # of the plan; None: updates are neither clipped nor is noise added
    judging: Judging | None = None  # None: all updates count
    secure: "HubState | None" = None  # what opens the sum of masked or encrypted updates; None: each is seen
    tensors: tuple[str, ...] | None = None  # that are in that sum; None: all that travel and are no integers

    def without(self, clients: Collection[str]) -> "Fold":
        """The fold of the other updates."""
        return (
            replace(self, terms=tuple(term for term in self.terms if term.owners.isdisjoint(clients)))
            if clients
            else self
        )

    def shortfall(self, excluded: Collection[str]) -> str:
        """Why there is no model without those that were left out; empty: there is."""
        if not excluded or self.judging is None:
            return ""
        named, root = ", ".join(sorted(excluded)), self.strategy.root
        text = f"round {self.round} left out anomalous updates of {named}"
        if (left := sum(len(term.owners) for term in self.terms)) < self.judging.quorum:
            return f"{text}: {left} are left, {self.judging.quorum} were needed"
        if root and all(term.client != root for term in self.terms):
            return f"{text}: that of the root client {root!r} is needed"
        return ""

    def place(self, job_uid: str, term: Term, payload: str) -> Place:
        """What a payload of a term was made for."""
        origin = term.origin or Origin(self.round, self.attempt, self.base.sha256)
        return Place(
            job_uid=job_uid,
            round=origin.round,
            attempt=origin.attempt,
            client=term.client,
            base_sha256=origin.base_sha256,
            payload=payload,
        )

    def staleness(self, term: Term) -> int:
        """How many commits are between the model that an update was trained from and the one that it is added to."""
        return self.round - term.origin.round if term.origin else 0


@dataclass(frozen=True)
class AddUp:
    """Add up the encrypted updates of a fold, without a key, and answer with `AddedUp`, `FoldFailed` or `UpdatesDamaged`."""

    of: Fold


@dataclass(frozen=True)
class Encode:
    """Encode a committed model for the way down, and answer with `Encoded`."""

    what: Outgoing


@dataclass(frozen=True)
class Measure:
    """Count the values of an update of that model, for sums of masked or encrypted ones, and answer with `Measured`."""

    model: ObjectRef
    hub_state: ObjectRef | None = None
    parameters: bool = False  # of parameters alone


@dataclass(frozen=True)
class FindRound:
    """See whether a committed round can be gone back to, and answer with `RoundFound` or `RoundLost`."""

    asked: RollbackTo


@dataclass(frozen=True)
class FindModel:
    """See whether the model of a committed round is there, and who has evaluated it: `ModelFound` or `ModelLost`."""

    asked: EvaluationRequest


@dataclass(frozen=True)
class Withdraw:
    """Delete accepted updates of the attempt under way that are damaged, and its close: their sites are asked again."""

    round: int
    attempt: int
    manifests: tuple[UpdateManifest, ...]


@dataclass(frozen=True)
class Forget:
    """Delete what sites sent and cannot be read any more, so that they can send it again."""

    keys: tuple[str, ...]


@dataclass(frozen=True)
class WriteEvaluation:
    """Record the metrics of the model of a round; `attempt` names its folder."""

    evaluation: EvaluationRecord
    attempt: int


@dataclass(frozen=True)
class Commit:
    """Write commit.json, then move HEAD to it by compare-and-swap."""

    commit: CommitRecord


@dataclass(frozen=True)
class Finish:
    """Mark HEAD as finished."""

    end: End


@dataclass(frozen=True)
class Unsettled:
    """Updates that may yet be part of a model: of orders from `since` on, and after the last that it has of their site."""

    since: int
    folded: Mapping[str, int]  # by site: the round of that order

    def has(self, client: str, round_: int) -> bool:
        """Whether a site's update for an order of that round is one."""
        return round_ >= self.since and round_ > self.folded.get(client, 0)


@dataclass(frozen=True)
class Discard:
    """Delete what nobody needs: updates of any site up to `round`, all models, encoded or not, and hub states up to it but `keep`."""

    round: int
    keep: frozenset[str]  # their SHA-256
    unsettled: Unsettled | None = None  # in asynchronous rounds: which updates stay all the same
    exchanges: bool = False  # whether the round may have what sites said to each other in exchanges: that too


Finding = FindRound | FindModel
Long = Fold | AddUp | Encode | Measure | Finding  # what takes long, and is answered by an event
Effect = (
    WritePlan
    | WriteClose
    | WriteStep
    | WriteFailure
    | Long
    | Withdraw
    | Forget
    | WriteEvaluation
    | Commit
    | Finish
    | Discard
)
