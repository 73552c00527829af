"""JobConfig: what the operator tells the aggregator, as JSON in a mounted file.

Written by fedoperator.desired, read anew by the aggregator before every plan, so that changes act at the next
round. Durations are seconds here and numbers are numbers: the API's strings end at the operator.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, field_serializer, field_validator

from fedapi.wire.ciphertext import Kem
from fedapi.wire.message import Message, Natural

# In one job: with names of 63 letters, and none of them able to take part, the roster takes 930 kB of the 1 MiB that the
# API server lets a ConfigMap hold, and the Role that names every site's Lease 800 kB of etcd's 1.5 MiB. See ADR 21.
MAX_SITES = 10_000
DEFAULT_MAX_SAMPLES = 1_000_000_000  # clients.maxSamples: more than sites have, far less than a made-up number


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
    # Newer than version 0.1, whose trainers refuse orders with fields that they do not know: only said where it says more.
    determinism: Literal["Strict", "Warn"] = Field("Strict", exclude_if=lambda value: value == "Strict")
    optimizer: OptimizerSettings = OptimizerSettings()


class StopRule(Message):
    """When training ends before the last round."""

    metric: str
    goal: Literal["Maximize", "Minimize"] = "Maximize"
    target: float | None = None
    patience: int | None = None


class RosterEntry(Message):
    """A site that belongs to the job. Not eligible: it takes no part in new rounds.

    With reason Paused or NotReady it may end the round that it is in; any other says that its processes have ended.
    """

    name: str
    eligible: bool = True
    reason: str = ""


class StrategySettings(Message):
    """How updates become the next model: an entry of fedcore.strategies, and its numbers."""

    name: str = "FedAvg"
    parameters: dict[str, float] = {}


class RollbackTo(Message):
    """The round whose model a job is to go back to. Each value acts once: another `id` makes it another value."""

    round: Natural
    id: Annotated[str, Field(max_length=63)] = ""


class JobConfig(Message):
    """Everything that the aggregator needs to know of a FederatedJob."""

    namespace: str
    name: str
    uid: str
    rounds: int = Field(ge=1)
    seed: int = Field(0, ge=0)
    strategy: StrategySettings = StrategySettings()
    policy: Literal["All", "Random"] = "All"
    per_round: int | None = None
    fraction: float | None = None
    min_available: int = 1
    quorum: int | str = "100%"
    deadline_s: float = Field(3600.0, gt=0)
    grace_after_quorum_s: float | None = None
    max_failures: int = 3
    max_samples: int = Field(
        DEFAULT_MAX_SAMPLES, ge=1, description="What one site may claim, in training or evaluation."
    )
    stop: StopRule | None = None
    encryption: Kem | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="By which sites encrypt their updates; None: they do not.",
    )
    rollback_to: RollbackTo | None = Field(
        None, exclude_if=lambda value: value is None, description="As spec.rollbackTo says it."
    )
    training: TrainingSettings = TrainingSettings()
    lifetime: Literal["Job", "Round"] = "Job"
    image: str = ""
    history_keep: int | None = Field(None, ge=1, description="Last models that are kept; all, where it is not said.")
    store_uri: str = Field(
        "", description="Prefix of model URIs in status, e.g. volume://<claim> or s3://<bucket>/<prefix>."
    )
    # Newer than version 0.1, whose aggregators refuse configurations with fields that they do not know.
    residency: tuple[str, ...] = Field(
        (), description="Regions where the store's bucket may be; empty: anywhere.", exclude_if=lambda value: not value
    )
    roster: tuple[RosterEntry, ...] = Field(
        (), description="In JSON a map of names: null where the site can take part, else the reason why not."
    )

    @field_validator("roster", mode="before")
    @classmethod
    def _of_names(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            return value
        return tuple(RosterEntry(name=n, eligible=why is None, reason=why or "") for n, why in value.items())

    @field_serializer("roster")
    def _by_name(self, roster: tuple[RosterEntry, ...]) -> dict[str, str | None]:
        return {entry.name: None if entry.eligible else entry.reason for entry in roster}

    @field_validator("strategy", mode="before")
    @classmethod
    def _named(cls, value: object) -> object:
        """Version 0.1 said the strategy's name alone."""
        return {"name": value} if isinstance(value, str) else value
