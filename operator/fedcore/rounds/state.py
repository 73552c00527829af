"""What the aggregator knows at one moment: the value that `machine.step` turns into the next one. Pure.

Read by every module of this package, by the HTTP routes (what to answer) and by the status builder.
All times are seconds since the epoch as the shell's clock gave them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Literal

from fedapi.wire.commit import CommitRecord
from fedapi.wire.job import EvaluationRequest, JobConfig
from fedapi.wire.layout import Layout
from fedapi.wire.ledger import Anchor
from fedapi.wire.metrics import Metrics
from fedapi.wire.signature import Signed
from fedapi.wire.site import EvaluationReport
from fedapi.wire.siteevaluation import SiteEvaluationRecord
from fedapi.wire.store import FailureRecord
from fedapi.wire.training import TrainingSettings
from fedapi.wire.update import UpdateManifest
from fedcore.anomalies import record
from fedcore.anomalies.record import Record
from fedcore.privacy.account import Account
from fedcore.rounds.attempt import Attempt
from fedcore.rounds.effort import Effort
from fedcore.rounds.outgoing import Outgoing, Sent
from fedcore.rounds.returns import Decided, Seeking, Undone
from fedcore.rounds.roster import Roster
from fedcore.rounds.sites import Site


class Phase(Enum):
    """Where the job stands."""

    WAITING = "Waiting"  # for the initial model, for sites, for somebody to be eligible
    COLLECTING = "Collecting"  # a plan is durable, updates come in
    OPENING = "Opening"  # it is decided whose updates are in the one sum, and the sites open the sum
    FOLDING = "Folding"  # the attempt is closed, the next model is being made
    EVALUATING = "Evaluating"  # after the last round: the last model is measured
    FINISHED = "Finished"


_UNKNOWN = Site()


@dataclass(frozen=True)
class Score:
    """Metrics of the model of one round, over all sites that reported; none where its evaluation is damaged."""

    round: int
    metrics: Metrics
    model_sha256: str


@dataclass(frozen=True)
class Kept:
    """What a committed round left: SHA-256 of its model, of all that it needs, and of what its strategy remembers."""

    model: str
    hub_state: str | None
    rolled_back_to: int | None = None
    skipped: bool = False
    initial: str | None = None

    @staticmethod
    def of(commit: CommitRecord) -> "Kept":
        """What that commit names."""
        hub_state = commit.hub_state.sha256 if commit.hub_state else None
        initial = commit.initial.sha256 if commit.initial else None
        return Kept(commit.model.sha256, hub_state, commit.rolled_back_to, bool(commit.skipped), initial)

    @property
    def objects(self) -> tuple[str, ...]:
        """SHA-256 of all that one needs to go on from there."""
        return tuple(digest for digest in (self.model, self.hub_state, self.initial) if digest is not None)


@dataclass(frozen=True)
class Skip:
    """A round that nobody takes part in, and that is too early to skip; with what that was found from, besides the sites."""

    at: float  # when it may be skipped
    config: JobConfig
    carried: Mapping[str, UpdateManifest]

    def stands(self, state: "State", now: float) -> bool:
        """Whether a look at all sites would find the same: a site that comes back ends it (machine)."""
        return now < self.at and self.config is state.config and self.carried is state.carried


@dataclass(frozen=True)
class Requested:
    """A value of spec.evaluation.request that is being answered, or was."""

    asked: EvaluationRequest
    commit: CommitRecord | None = None  # of that round, once its model was seen whole; without who took part
    records: Mapping[str, SiteEvaluationRecord] = field(default_factory=dict)  # of that model, by site
    failed: frozenset[str] = frozenset()  # sites that cannot
    until: float = 0.0
    over: bool = False  # nobody is waited for any more
    refused: str = ""  # why nothing was done


@dataclass(frozen=True)
class End:
    """That training finished, and how."""

    result: Literal["Succeeded", "Failed"]
    reason: str
    message: str
    at: float


@dataclass(frozen=True)
class Closing:
    """The evaluate-only step after the last round."""

    expected: frozenset[str]  # sites that it waits for
    until: float
    end: End | None  # how the job ends afterwards; None: that is found from the evaluation (evaluateonly)


@dataclass(frozen=True)
class Measurement:
    """How many values of an update are summed under masks, and of which tensors; None: of all that are floats."""

    items: int
    tensors: tuple[str, ...] | None


@dataclass(frozen=True)
class State:
    """Everything that decides what happens next. Replaced, never changed."""

    config: JobConfig
    epoch: int
    phase: Phase = Phase.WAITING
    tip: CommitRecord | None = None  # the last commit
    tip_sha256: str | None = None  # of its stored bytes: what the next commit is bound to
    history: tuple[Kept, ...] = ()  # of every commit, from round 0 to `tip`
    line: frozenset[int] | None = None  # rounds whose updates are in the tip's model; None: all of them
    tip_selected: int = 0  # sites selected in its round
    attempt: int = 1  # of the round after `tip`
    void: tuple[FailureRecord, ...] = ()  # attempts of that round that came to nothing
    skip: Skip | None = None  # of that round, if nobody takes part in it
    effort: Effort = field(default_factory=Effort)  # seconds of training
    anomalies: Record = record.NONE  # of committed rounds
    account: Account = field(default_factory=Account)  # what all commits have told of a site
    encoding: Outgoing | None = None  # which model is being encoded
    sent: Sent | None = None  # the last that was
    measured: Measurement | None = None  # where updates are masked, once it is known
    measuring: bool = False  # whether it is being found
    current: Attempt | None = None
    carried: Mapping[str, UpdateManifest] = field(default_factory=dict)  # asynchronous: accepted for the next attempt
    signed: Mapping[tuple[str, int, int], Signed] = field(
        default_factory=dict
    )  # by site, round and attempt: signatures of updates that are in no commit yet
    reports: Mapping[str, EvaluationReport] = field(default_factory=dict)  # on the tip's model, by site
    excused: frozenset[str] = frozenset()  # sites that cannot evaluate the tip's model
    requested: Requested | None = None
    site_evaluations: Mapping[str, SiteEvaluationRecord] = field(
        default_factory=dict
    )  # by held-out site its newest evaluation
    scores: tuple[Score, ...] = ()
    closing: Closing | None = None
    decided: tuple[Decided, ...] = ()  # oldest first
    seeking: Seeking | None = None
    undone: tuple[Undone, ...] = ()  # oldest first
    undoing: Seeking | None = None  # because of an anomaly
    sites: Mapping[str, Site] = field(default_factory=dict)
    end: End | None = None
    ledger: Anchor | None = field(default=None, compare=False)  # all that is told by now: what the next commit binds
    roster: Roster = field(default=Roster(), repr=False, compare=False)  # follows `config`

    def __post_init__(self) -> None:
        barred = self.known_anomalies.barred(self.config.anomalies)
        if self.roster.entries is not self.config.roster or self.roster.suspended != barred:
            object.__setattr__(self, "roster", Roster.of(self.config.roster, barred))

    @property
    def known_anomalies(self) -> Record:
        """Those of committed rounds, and of attempts of the one under way that came to nothing."""
        found = self.anomalies
        for failure in self.void:
            found = found.with_newer(failure.round, failure.at, failure.anomalies)
        return found

    @property
    def round(self) -> int:
        """The round under way: the one after the last commit."""
        return self.tip.round + 1 if self.tip else 0

    @property
    def spent_s(self) -> float:
        """Seconds trained in vain for the round under way, all attempts."""
        return sum(failure.lost_s for failure in self.void) + (self.current.lost_s if self.current else 0.0)

    @property
    def layout(self) -> Layout:
        """Keys of this job's objects."""
        return Layout(self.config.namespace, self.config.name, self.config.uid)

    @property
    def accepted(self) -> Mapping[str, UpdateManifest]:
        """Updates that are accepted and in no model yet, by site."""
        return self.current.accepted if self.current else self.carried

    def site(self, client: str) -> Site:
        """What is known of a site; empty for a new one."""
        return self.sites.get(client, _UNKNOWN)

    def training_of(self, client: str) -> TrainingSettings:
        """What a site outside of a round is told: the configuration's, with what it does otherwise."""
        entry, others = self.roster.by_name.get(client), self.config.overrides
        if entry is None or entry.override is None or entry.override >= len(others):
            return self.config.training
        return others[entry.override].of(self.config.training)

    def protocol(self, client: str) -> int:
        """What a site speaks, as far as it has said so."""
        speech = self.site(client).speech
        return speech.protocol if speech else 1

    def with_site(self, client: str, site: Site) -> "State":
        """The state with that site's entry replaced."""
        return self.with_sites({client: site})

    def with_sites(self, sites: Mapping[str, Site]) -> "State":
        """The state with these sites' entries replaced."""
        return replace(self, sites={**self.sites, **sites})
