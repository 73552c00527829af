"""plan.json: a round as it was planned. Written by the aggregator, and read by it on recovery."""

from bisect import bisect_left

from pydantic import Field

from fedapi.wire.anomalies import AnomalySettings
from fedapi.wire.ciphertext import Kem
from fedapi.wire.compression import Broadcast, Codec, Compression
from fedapi.wire.job import Policy
from fedapi.wire.message import Message, ObjectRef, Record, Whole
from fedapi.wire.privacy import Mechanism, SiteNoise
from fedapi.wire.secureround import PlannedMasks
from fedapi.wire.strategy import StrategySettings
from fedapi.wire.training import TrainingOverride, TrainingSettings


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
