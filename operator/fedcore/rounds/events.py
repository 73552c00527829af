"""What can happen to the aggregator, as values. Each carries the time at which the shell saw it. Pure.

Made by fedaggregator.engine, read by `machine.step`. Manifests and reports are durable before their event is made.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fedapi.wire.commit import CommitRecord
from fedapi.wire.job import EvaluationRequest, JobConfig, RollbackTo
from fedapi.wire.message import ObjectRef
from fedapi.wire.secureround import SecureSaid
from fedapi.wire.signature import Signed
from fedapi.wire.site import EvaluationReport
from fedapi.wire.siteevaluation import SiteEvaluationRecord
from fedapi.wire.update import UpdateManifest
from fedcore.anomalies.record import UNJUDGED, Judged
from fedcore.rounds.compatibility import Speech
from fedcore.rounds.outgoing import Outgoing
from fedcore.rounds.sites import Contribution


@dataclass(frozen=True)
class Ticked:
    """Time passed."""

    now: float


@dataclass(frozen=True)
class Configured:
    """The job's configuration was read anew."""

    now: float
    config: JobConfig


@dataclass(frozen=True)
class InitialModelFound:
    """The model of round 0 is in the store."""

    now: float
    model: ObjectRef
    partial: bool = False  # some of its tensors do not travel


@dataclass(frozen=True)
class Heard:
    """Sites that proved who they are asked for something."""

    now: float
    clients: tuple[str, ...]
    speeches: Mapping[str, Speech] = field(default_factory=dict)  # of those that asked what to do


@dataclass(frozen=True)
class Accepted:
    """An update was verified and its manifest is durable."""

    now: float
    manifest: UpdateManifest
    signed: Signed | None = None  # by its site, where that has a key


@dataclass(frozen=True)
class Restarted:
    """A site that was given its order so many seconds ago asks for it again: what it has trained since is lost."""

    now: float
    client: str
    round: int
    attempt: int
    seconds: float


@dataclass(frozen=True)
class Evaluated:
    """A site's evaluation of the last model is durable."""

    now: float
    report: EvaluationReport


@dataclass(frozen=True)
class SiteEvaluated:
    """A site's evaluation of a committed model, outside of training, is durable."""

    now: float
    record: SiteEvaluationRecord


@dataclass(frozen=True)
class SiteFailed:
    """A site cannot deliver in this attempt: it said so, or what it sent can never be taken."""

    now: float
    client: str
    round: int
    attempt: int
    reason: str
    message: str


@dataclass(frozen=True)
class Refused:
    """Something that a site sent was not taken; the site may try again."""

    now: float
    client: str
    reason: str
    message: str


@dataclass(frozen=True)
class Folded:
    """The next model is in the store."""

    now: float
    round: int
    attempt: int
    model: ObjectRef
    hub_state: ObjectRef | None = None
    judged: Judged = UNJUDGED
    within: float | None = None  # share of the sites whose updates are within the clip norm, with noise


@dataclass(frozen=True)
class AddedUp:
    """The sum of the encrypted updates is in the store, for sites to open."""

    now: float
    round: int
    attempt: int
    total: ObjectRef


@dataclass(frozen=True)
class FoldFailed:
    """The accepted updates are whole, and give no model that can be committed, or no sum."""

    now: float
    round: int
    attempt: int
    reason: str
    message: str
    judged: Judged = UNJUDGED


@dataclass(frozen=True)
class UpdatesDamaged:
    """Accepted updates are no longer what was accepted: by key, what is wrong with each."""

    now: float
    round: int
    attempt: int
    found: Mapping[str, str]


@dataclass(frozen=True)
class Said:
    """A site said something in the exchange of its attempt, signed by it."""

    now: float
    client: str
    said: SecureSaid


@dataclass(frozen=True)
class Measured:
    """How many values an update has that are summed under masks, and of which tensors; None: of all that are floats."""

    now: float
    items: int
    tensors: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Encoded:
    """A model is in the store as sites get it."""

    now: float
    what: Outgoing
    object: ObjectRef | None  # None: it goes as it is
    plain_bytes: int  # of the same tensors as they are
    reference: ObjectRef | None = None  # what a delta makes


@dataclass(frozen=True)
class BroadcastLost:
    """What sites of that attempt fetch is damaged, and cannot be made again: what the delta was taken from is lost, too."""

    now: float
    round: int
    attempt: int


@dataclass(frozen=True)
class RoundFound:
    """The model of a committed round is there and whole, and so is what its strategy remembers."""

    now: float
    asked: RollbackTo
    commit: CommitRecord  # without who took part
    made: Mapping[str, Contribution]  # each site's last update in that model


@dataclass(frozen=True)
class RoundLost:
    """It is not."""

    now: float
    asked: RollbackTo
    message: str


@dataclass(frozen=True)
class ModelFound:
    """The model of a committed round is whole, and these sites have evaluated it outside of training."""

    now: float
    asked: EvaluationRequest
    commit: CommitRecord  # without who took part
    records: tuple[SiteEvaluationRecord, ...]


@dataclass(frozen=True)
class ModelLost:
    """It is not; these sites have evaluated it before."""

    now: float
    asked: EvaluationRequest
    message: str
    records: tuple[SiteEvaluationRecord, ...] = ()


Event = (
    Ticked
    | Configured
    | InitialModelFound
    | Heard
    | Accepted
    | Evaluated
    | SiteEvaluated
    | SiteFailed
    | Refused
    | Restarted
    | Folded
    | AddedUp
    | FoldFailed
    | UpdatesDamaged
    | Said
    | Measured
    | Encoded
    | BroadcastLost
    | RoundFound
    | RoundLost
    | ModelFound
    | ModelLost
)
