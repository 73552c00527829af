"""JobConfig: what the operator tells the aggregator, as JSON in a mounted file.

Written by fedoperator.desired, read anew by the aggregator before every plan, so that changes act at the next
round. Durations are seconds here and numbers are numbers: the API's strings end at the operator.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, field_serializer, field_validator

from fedapi.wire.anomalies import AnomalySettings
from fedapi.wire.ciphertext import Kem
from fedapi.wire.compression import Compression, Encoding
from fedapi.wire.message import Message, Natural
from fedapi.wire.privacy import DPSGD, Privacy
from fedapi.wire.secureround import SecureSettings
from fedapi.wire.signature import SiteKey

# In one job: with names of 63 letters, and none of them able to take part, the roster takes 930 kB of the 1 MiB that the
# API server lets a ConfigMap hold, and the Role that names every site's Lease 800 kB of etcd's 1.5 MiB. See ADR 21.
MAX_SITES = 10_000
MAX_STRATA = 100  # in one job: so many fit beside the roster, and few digits beside each name
MAX_OVERRIDES = 10
Policy = Literal["All", "Random", "Stratified", "ResourceAware", "Fair", "Poisson"]  # of clients.policy
ClientCertificates = Literal["Optional", "Required"]  # clients.certificates
CUSTOM = "custom:"  # before the name of a strategy that is an entry point of an installed package
DEFAULT_MAX_SAMPLES = 1_000_000_000  # clients.maxSamples: more than sites have, far less than a made-up number


class OptimizerSettings(Message):
    """The optimizer at the sites."""

    name: Literal["SGD", "Adam", "AdamW"] = "SGD"
    learning_rate: float = Field(0.01, gt=0)
    momentum: float = 0.0
    weight_decay: float = 0.0


class Method(Message):
    """What a strategy asks of a training beside the optimizer's steps. Each part needs a feature (wire.protocol)."""

    proximal: float | None = Field(
        None, ge=0, description="mu: gradients are those of the loss and mu / 2 * |w - base|^2 (FedProx)."
    )
    full_gradient: bool = Field(
        False, description="No step is made: the update is minus the gradient of the mean loss over all data (FedSGD)."
    )
    control_variates: int | None = Field(
        None,
        ge=1,
        description="Gradients are corrected by the site's control variate and that of all sites (SCAFFOLD): the hub's "
        "state is the sum of the sites' controls, and this is the number of sites that it is divided by.",
    )
    keep_optimizer: bool = Field(
        False, description="The optimizer's state stays at the site from one of its updates to the next (DiLoCo)."
    )
    fragments: int | None = Field(
        None,
        ge=2,
        exclude_if=lambda value: value is None,
        description="So many parts of the model take turns (fedcore.tensors.fragments): the update is that of the round's, and "
        "of the others the site goes on from its own values (DiLoCo).",
    )


Width = Annotated[
    float | None,
    Field(
        gt=0,
        lt=1,
        exclude_if=lambda value: value is None,
        description="The sub-model that a site trains, of those that the initial model names; absent: the whole model.",
    ),
]
SubModels = Literal["Overlap", "ZeroPadding"]


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
    exchange: tuple[str, ...] = Field(
        (),
        exclude_if=lambda value: not value,
        description="Patterns of the tensors that travel; empty: all, but for frozen parameters.",
    )
    local_parameters: tuple[str, ...] = Field(
        (), exclude_if=lambda value: not value, description="Patterns of the tensors that stay at the site."
    )
    method: Method | None = Field(
        None, exclude_if=lambda value: value is None, description="Of the plan's strategy; absent: steps and no more."
    )
    model_width: Width = None
    dp_sgd: DPSGD | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="As spec.privacy.dpSGD; absent: records are not hidden. Needs a feature (wire.protocol).",
    )


class StopRule(Message):
    """When training ends before the last round."""

    metric: str
    goal: Literal["Maximize", "Minimize"] = "Maximize"
    target: float | None = None
    patience: int | None = None


class TrainingOverride(Message):
    """What some sites do otherwise than `training` says, as `clients.overrides` has it."""

    batch_size: int | None = Field(None, ge=1)
    epochs: int | None = Field(None, ge=1)
    local_steps: int | None = Field(None, ge=1)
    model_width: Width = None

    def of(self, training: TrainingSettings) -> TrainingSettings:
        """The settings of such a site. Epochs and steps exclude each other: who is given the one is not given the other."""
        said = self.model_dump(exclude_none=True)
        if self.epochs is not None or self.local_steps is not None:
            said = {"epochs": None, "local_steps": None} | said
        return training.model_copy(update=said)


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


class RosterEntry(Message):
    """A site that belongs to the job. Not eligible: it takes no part in new rounds.

    With reason Paused or NotReady it may end the round that it is in; any other says that its processes have ended.
    """

    name: str
    eligible: bool = True
    reason: str = ""
    stratum: int | None = None  # which of the configuration's strata it is in
    every_rounds: int = 1  # it takes part in at most every n-th round
    override: int | None = None  # which of the configuration's overrides it trains by
    held_out: bool = False  # it evaluates committed models and never trains: of jobs with `evaluation`

    def coded(self) -> str | None:
        """As the roster's map has it: None for nothing to say, else `reason|stratum|everyRounds|override|heldOut` as far as needed.

        Few bytes, because 10,000 of them share a ConfigMap (ADR 21).
        """
        every = str(self.every_rounds) if self.every_rounds != 1 else ""
        stratum, override = ("" if number is None else str(number) for number in (self.stratum, self.override))
        facts = f"|{stratum}|{every}|{override}|{'1' if self.held_out else ''}".rstrip("|")
        return None if self.eligible and not facts else self.reason + facts

    @classmethod
    def decoded(cls, name: str, code: str | None) -> Self:
        """The inverse."""
        if code is None:
            return cls(name=name)
        reason, *numbers = code.split("|")
        stratum, every, override, held_out = (int(text) if text else None for text in (*numbers, "", "", "", "")[:4])
        eligible = not reason and "|" in code
        return cls(
            name=name,
            eligible=eligible,
            reason=reason,
            stratum=stratum,
            every_rounds=1 if every is None else every,
            override=override,
            held_out=held_out is not None,
        )


class PreAggregation(Message):
    """What is made of the updates before the strategy sees them: means over groups of them."""

    name: Literal["NearestNeighbourMixing", "Bucketing"]
    byzantine: int = Field(0, ge=0, description="Sites that may send anything; of NearestNeighbourMixing.")
    bucket_size: int = Field(1, ge=1, description="Updates of a mean; of Bucketing.")


class StrategySettings(Message):
    """How updates become the next model: an entry of fedcore.strategies, and its numbers."""

    name: str = "FedAvg"
    parameters: dict[str, float] = {}
    pre_aggregation: PreAggregation | None = Field(None, exclude_if=lambda value: value is None)
    root: str = Field(
        "",
        exclude_if=lambda value: not value,
        description="The client without whose update no round is made (FLTrust).",
    )
    sub_models: SubModels | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="How the mean is taken where some sites train sub-models; absent: none does.",
    )
    fragments: int | None = Field(
        None,
        ge=2,
        exclude_if=lambda value: value is None,
        description="So many parts of the model take turns: a round steps one of them (DiLoCo).",
    )


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
        description="As spec.privacy.secureAggregation. An aggregator that does not know the field would see single updates.",
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
