"""What must be done next, as values, in the order in which it must become durable. Pure.

Returned by `machine.step`, carried out by fedaggregator.engine (and by an in-memory interpreter in tests).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from fedapi.wire.ciphertext import Place
from fedapi.wire.job import RollbackTo, StrategySettings
from fedapi.wire.message import ObjectRef
from fedapi.wire.site import Payload, UpdateManifest
from fedapi.wire.store import CloseRecord, CommitRecord, EvaluationRecord, FailureRecord, PlanRecord
from fedcore.rounds.state import End


@dataclass(frozen=True)
class WritePlan:
    """Make the plan durable; no site hears of it before."""

    plan: PlanRecord


@dataclass(frozen=True)
class WriteClose:
    """Make durable which updates count, where not every selected site delivered."""

    close: CloseRecord


@dataclass(frozen=True)
class WriteFailure:
    """Record an attempt that ended without a commit."""

    failure: FailureRecord


@dataclass(frozen=True)
class Term:
    """One site's part in a fold: its files, and what a strategy may weigh them by."""

    client: str
    payloads: Mapping[str, Payload]
    samples: int
    steps: int | None  # unknown from trainers of version 0.1


@dataclass(frozen=True)
class Fold:
    """Make the next model by the plan's strategy, and answer with `Folded`, `FoldFailed` or `UpdatesDamaged`."""

    round: int
    attempt: int
    base: ObjectRef
    strategy: StrategySettings
    terms: tuple[Term, ...]  # in plan order
    hub_state: ObjectRef | None = None  # what the strategy kept after the last commit

    def place(self, job_uid: str, term: Term, payload: str) -> Place:
        """What a payload of a term was made for."""
        return Place(
            job_uid=job_uid,
            round=self.round,
            attempt=self.attempt,
            client=term.client,
            base_sha256=self.base.sha256,
            payload=payload,
        )


@dataclass(frozen=True)
class FindRound:
    """See whether a committed round can be gone back to, and answer with `RoundFound` or `RoundLost`."""

    asked: RollbackTo


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
class Discard:
    """Delete what nobody needs: updates of any site up to `round`, all models and hub states up to it but `keep`."""

    round: int
    keep: frozenset[str]  # their SHA-256


Effect = (
    WritePlan
    | WriteClose
    | WriteFailure
    | Fold
    | FindRound
    | Withdraw
    | Forget
    | WriteEvaluation
    | Commit
    | Finish
    | Discard
)
