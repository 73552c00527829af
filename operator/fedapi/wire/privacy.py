"""Differential privacy as configurations, plans, orders, updates and commits say it. Pure; the arithmetic is in fedcore.privacy.

An epsilon of differentialPrivacy is of one site (unit Site). With mode Central by adding or removing it (adjacency ZeroOut: the sum has,
or has not, its clipped update), with mode Local by whatever other data it might have (adjacency Replacement): that it sends something is
no secret. One that a site tells of its training by DP-SGD is of one record of its data (unit Record), by adding or removing it.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from fedapi.wire.message import Message, Sha256

Mode = Literal["Central", "Local", "Distributed"]
Clipping = Literal["Flat", "PerLayer"]
Norm = Annotated[float, Field(gt=0)]
NoiseMultiplier = Annotated[float, Field(gt=0)]  # standard deviation of the noise over the norm
Delta = Annotated[float, Field(gt=0, lt=1)]


def _check_noisy(noise_multiplier: float | None, target_epsilon: float | None) -> None:
    if noise_multiplier is None and target_epsilon is None:
        raise ValueError("noise_multiplier or target_epsilon must be said: without them there is no noise")


class AdaptiveClipping(Message):
    """How the clip norm follows the updates, with mode Central."""

    target_quantile: float = Field(
        gt=0, lt=1, description="The share of the sites whose updates are to be within the norm."
    )
    learning_rate: float = Field(gt=0)
    count_noise: float | None = Field(
        None, gt=0, description="Of how many are; None: as fedcore.privacy.adaptive has it."
    )


class MatrixFactorization(Message):
    """By which matrix the noise of rounds is correlated."""

    bands: int = Field(ge=2, description="A round has noise of its own and of so many rounds before it, less one.")
    min_separation: int = Field(ge=2, description="A site takes part at most every so many rounds.")


class DrawnNoise(Message):
    """The noise of one round, which its key and nothing else makes."""

    round: int = Field(ge=1)
    drawn_for: Sha256 = Field(description="What the key derives from, beside the job's key.")


class ReleasedRow(MatrixFactorization):
    """The place of a committed round in the matrix."""

    since: int = Field(ge=1, description="Round of the matrix's first row.")
    drawn_for: Sha256 = Field(description="What the key of the round's own noise derives from, beside the job's key.")


class Row(MatrixFactorization):
    """The place of a planned round in the matrix."""

    since: int = Field(ge=1, description="Round of the matrix's first row.")
    earlier: tuple[DrawnNoise, ...] = Field((), description="Whose noise the round has a part of, oldest first.")

    def released(self, drawn_for: str) -> ReleasedRow:
        """What the commit says of it."""
        return ReleasedRow(bands=self.bands, min_separation=self.min_separation, since=self.since, drawn_for=drawn_for)


class Privacy(Message):
    """What a job asks for: spec.privacy.differentialPrivacy."""

    mode: Mode
    clip_norm: Norm
    clipping: Clipping = "Flat"
    noise_multiplier: float | None = Field(
        None, gt=0, description="Standard deviation of the noise over the clip norm."
    )
    target_epsilon: float | None = Field(None, gt=0, description="No round is released that would pass it.")
    delta: Delta
    adaptive: AdaptiveClipping | None = Field(
        None, exclude_if=lambda value: value is None, description="None: the clip norm stays what it is."
    )
    matrix_factorization: MatrixFactorization | None = Field(
        None, exclude_if=lambda value: value is None, description="None: the noise of each round is independent."
    )

    @model_validator(mode="after")
    def _bounded(self) -> "Privacy":
        _check_noisy(self.noise_multiplier, self.target_epsilon)
        return self


class Mechanism(Message):
    """What is done to the updates of a planned round."""

    mode: Mode
    clip_norm: Norm
    clipping: Clipping
    noise_multiplier: NoiseMultiplier
    delta: Delta
    denominator: int = Field(ge=1, description="What the sum is divided by, however many updates come.")
    count_noise: float | None = Field(
        None,
        gt=0,
        exclude_if=lambda value: value is None,
        description="Standard deviation of the noise of how many updates are within the clip norm; None: they are not counted.",
    )
    row: Row | None = Field(
        None, exclude_if=lambda value: value is None, description="None: the noise is the round's own."
    )


class SiteNoise(Message):
    """With mode Local: what a site does to its update before anything of it leaves."""

    clip_norm: Norm
    clipping: Clipping
    noise_multiplier: NoiseMultiplier
    delta: Delta


AskedNoise = Annotated[
    SiteNoise | None,
    Field(
        exclude_if=lambda value: value is None,
        description="How the site clips its update and what noise it adds; told to sites with the feature `site-noise`, which all of "
        "such a job's have.",
    ),
]


class PrivacyDemand(Message):
    """What a site demands of what hides its updates: spec.requires.privacy of its FLClient."""

    secure_aggregation: bool = Field(
        False,
        exclude_if=lambda value: not value,
        description="The hub is to see sums alone, and noise is that of the sum; else it is that of the site's own update.",
    )
    min_noise_multiplier: float | None = Field(None, gt=0)
    max_epsilon: float | None = Field(None, gt=0, description="Of all that the site sends for one job, at `delta`.")
    delta: float | None = Field(None, gt=0, lt=1)

    @model_validator(mode="after")
    def _whole(self) -> "PrivacyDemand":
        if (self.max_epsilon is None) != (self.delta is None):
            raise ValueError("max_epsilon and delta go together: an epsilon without a delta says nothing")
        return self

    @property
    def asks_for_noise(self) -> bool:
        """Whether sums, or updates, without noise are not enough."""
        return not self.secure_aggregation or self.min_noise_multiplier is not None or self.max_epsilon is not None


class Charge(Message):
    """What a commit has released, and what is spent with it."""

    mode: Mode
    unit: Literal["Site"] = "Site"
    adjacency: Literal["ZeroOut", "Replacement"] = "ZeroOut"
    clip_norm: Norm
    noise_multiplier: NoiseMultiplier
    within: float | None = Field(
        None,
        ge=0,
        le=1,
        exclude_if=lambda value: value is None,
        description="Share of the sites whose updates were within the clip norm, with noise: the next norm follows from it.",
    )
    rho: float | None = Field(
        None,
        ge=0,
        exclude_if=lambda value: value is None,
        description="With mode Distributed: zCDP of all that was released since the commit before, failed attempts included.",
    )
    releases: int | None = Field(
        None,
        ge=1,
        exclude_if=lambda value: value is None,
        description="With mode Local: updates that a site may have sent since the commit before, one for each attempt.",
    )
    mu: float | None = Field(
        None,
        gt=0,
        exclude_if=lambda value: value is None,
        description="Of all that was released since the commit before (Gaussian differential privacy), where that is not "
        "1 / noise_multiplier.",
    )
    epsilon: float = Field(ge=0, description="Spent by all commits up to this one, at delta.")
    delta: Delta
    row: ReleasedRow | None = Field(
        None, exclude_if=lambda value: value is None, description="None: the noise is the round's own."
    )


ChargedFailure = Annotated[  # of an attempt
    Charge | None,
    Field(
        exclude_if=lambda value: value is None,
        description="With differential privacy by noise under masks: what it has told, since its survivor set was named.",
    ),
]


class DPSGD(Message):
    """How a site trains so that its update tells little of one record: spec.privacy.dpSGD (Abadi et al. 2016)."""

    max_grad_norm: float = Field(gt=0, description="The Euclidean norm that one record's gradient has at most.")
    noise_multiplier: float | None = Field(
        None, gt=0, description="Standard deviation of a step's noise over that norm; None: the least for the target."
    )
    target_epsilon: float | None = Field(None, gt=0, description="No update leaves a site that would pass it.")
    delta: Delta
    rounds: int = Field(ge=0, description="Of the job: so long the target is to last.")

    @model_validator(mode="after")
    def _bounded(self) -> "DPSGD":
        _check_noisy(self.noise_multiplier, self.target_epsilon)
        return self


class RecordPrivacy(Message):
    """What all updates that have left a site tell of one record of it, as the site accounts for it."""

    unit: Literal["Record"] = "Record"
    epsilon: float = Field(ge=0, allow_inf_nan=False)
    delta: Delta


SaidPrivacy = Annotated[
    RecordPrivacy | None,
    Field(
        exclude_if=lambda value: value is None,
        description="With training.dp_sgd: what the site has told of one record, by this update and all that have left it before.",
    ),
]
