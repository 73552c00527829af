"""JobConfig: what the operator tells the aggregator, as JSON in a mounted file.

Written by fedoperator.desired, read anew by the aggregator before every plan, so that changes act at the next
round. Durations are seconds here and numbers are numbers: the API's strings end at the operator.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, field_serializer, field_validator

from fedapi.wire.anomalies import AnomalySettings
from fedapi.wire.ciphertext import Kem
from fedapi.wire.compression import Compression, Encoding
from fedapi.wire.message import Message, Natural
from fedapi.wire.privacy import Privacy
from fedapi.wire.roster import RosterEntry
from fedapi.wire.secureround import SecureSettings
from fedapi.wire.signature import SiteKey
from fedapi.wire.strategy import StrategySettings
from fedapi.wire.training import TrainingOverride, TrainingSettings

Policy = Literal["All", "Random", "Stratified", "ResourceAware", "Fair", "Poisson"]  # of clients.policy
ClientCertificates = Literal["Optional", "Required"]  # clients.certificates
DEFAULT_MAX_SAMPLES = 1_000_000_000  # clients.maxSamples: more than sites have, far less than a made-up number


class StopRule(Message):
    """When training ends before the last round."""

    metric: str
    goal: Literal["Maximize", "Minimize"] = "Maximize"
    target: float | None = None
    patience: int | None = None


class EvaluationRequest(Message):
    """A committed round whose model some sites are to evaluate. Each value is answered once: another `id` makes it another."""

    round: Natural
    id: Annotated[str, Field(max_length=63)] = ""
    clients: tuple[str, ...]
    selection: Annotated[str, Field(max_length=64)] = Field(
        "",
        exclude_if=lambda value: not value,
        description="A digest of what selected the clients: of one selection who joins later is the same request.",
    )


class EvaluationSettings(Message):
    """Evaluations beside those of the sites that train, as spec.evaluation has them."""

    every_rounds: int = Field(
        1, ge=1, description="Held-out sites evaluate the model of every n-th round, and the last."
    )
    request: EvaluationRequest | None = Field(None, exclude_if=lambda value: value is None)


class RollbackTo(Message):
    """The round whose model a job is to go back to. Each value acts once: another `id` makes it another value."""

    round: Natural
    id: Annotated[str, Field(max_length=63)] = ""


class JobConfig(Message):
    """Everything that the aggregator needs to know of a FederatedJob."""

    namespace: str
    name: str
    uid: str
    rounds: int = Field(ge=0, description="0: nothing is trained, the sites evaluate the first model.")
    seed: int = Field(0, ge=0)
    strategy: StrategySettings = StrategySettings()
    policy: Policy = "All"
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
    certificates: ClientCertificates = Field(
        "Optional",
        exclude_if=lambda value: value == "Optional",
        description="Whether a site has to show its certificate on its connections.",
    )
    stop: StopRule | None = None
    encryption: Kem | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="By which sites encrypt their updates; None: they do not.",
    )
    compression: Compression | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="How sites encode their updates; None: they send them as they are.",
    )
    download: Encoding | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="How the model is encoded that sites fetch; None: they get it as it is.",
    )
    download_delta: bool = Field(
        False,
        exclude_if=lambda value: not value,
        description="`download` encodes what has changed since the model that sites have.",
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
    over_selection: float | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="So many times the sites that are wanted are asked; the round closes at the count wanted.",
    )
    max_staleness: int | None = Field(
        None,
        ge=0,
        exclude_if=lambda value: value is None,
        description="In asynchronous rounds: how many commits old the model may be that an update was trained from.",
    )
    strata: tuple[str, ...] = Field(
        (),
        exclude_if=lambda value: not value,
        description="With policy Stratified: what the roster's numbers stand for.",
    )
    overrides: tuple[TrainingOverride, ...] = Field(
        (), exclude_if=lambda value: not value, description="As clients.overrides; the roster says which is whose."
    )
    evaluation: EvaluationSettings | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="In jobs that have held-out sites. An aggregator that does not know the field would let those train.",
    )
    anomalies: AnomalySettings | None = Field(
        None, exclude_if=lambda value: value is None, description="How updates are judged; None: they are not."
    )
    identities: dict[str, tuple[SiteKey, ...]] = Field(
        {},
        exclude_if=lambda value: not value,
        description="Keys of the sites that have some, and must sign. In JSON codes, as SiteKey has them. An aggregator that does "
        "not know the field would take what is not signed.",
    )
    privacy: Privacy | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="As spec.privacy.differentialPrivacy. An aggregator that does not know the field would add no noise.",
    )
    secure: SecureSettings | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="As spec.privacy.secureAggregation, or homomorphicEncryption. An aggregator that does not know the field would see single updates.",
    )
    roster: tuple[RosterEntry, ...] = Field(
        (),
        description="In JSON a map of names: null where there is nothing to say of a site, else "
        "`reason|stratum|everyRounds|override|heldOut`, each empty where it does not apply. A reason: why it takes no part.",
    )

    @field_validator("identities", mode="before")
    @classmethod
    def _of_codes(cls, value: object) -> object:
        if not isinstance(value, Mapping) or not all(isinstance(keys, list | tuple) for keys in value.values()):
            return value
        return {
            name: tuple(SiteKey.decoded(each) if isinstance(each, str) else each for each in keys)
            for name, keys in value.items()
        }

    @field_serializer("identities")
    def _codes(self, identities: dict[str, tuple[SiteKey, ...]]) -> dict[str, list[str]]:
        return {name: [key.coded() for key in keys] for name, keys in identities.items()}

    @field_validator("roster", mode="before")
    @classmethod
    def _of_names(cls, value: object) -> object:
        if not isinstance(value, Mapping) or not all(isinstance(code, str | None) for code in value.values()):
            return value
        return tuple(RosterEntry.decoded(name, code) for name, code in value.items())

    @field_serializer("roster")
    def _by_name(self, roster: tuple[RosterEntry, ...]) -> dict[str, str | None]:
        return {entry.name: entry.coded() for entry in roster}

    @field_validator("strategy", mode="before")
    @classmethod
    def _named(cls, value: object) -> object:
        """Version 0.1 said the strategy's name alone."""
        return {"name": value} if isinstance(value, str) else value
