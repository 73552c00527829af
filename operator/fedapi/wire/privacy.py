"""Differential privacy as configurations, plans and commits say it. Pure; the arithmetic is in fedcore.privacy.

Every epsilon is of one site (unit Site), by adding or removing it (adjacency ZeroOut: the sum has, or has not, its clipped update).
"""

from typing import Literal

from pydantic import Field, model_validator

from fedapi.wire.message import Message

Mode = Literal["Central", "Distributed"]
Clipping = Literal["Flat", "PerLayer"]


class Privacy(Message):
    """What a job asks for: spec.privacy.differentialPrivacy."""

    mode: Mode
    clip_norm: float = Field(gt=0)
    clipping: Clipping = "Flat"
    noise_multiplier: float | None = Field(
        None, gt=0, description="Standard deviation of the noise over the clip norm."
    )
    target_epsilon: float | None = Field(None, gt=0, description="No round is released that would pass it.")
    delta: float = Field(gt=0, lt=1)

    @model_validator(mode="after")
    def _bounded(self) -> "Privacy":
        if self.noise_multiplier is None and self.target_epsilon is None:
            raise ValueError("noise_multiplier or target_epsilon must be said: without them there is no noise")
        return self


class Mechanism(Message):
    """What is done to the updates of a planned round."""

    mode: Mode
    clip_norm: float = Field(gt=0)
    clipping: Clipping
    noise_multiplier: float = Field(gt=0)
    delta: float = Field(gt=0, lt=1)
    denominator: int = Field(ge=1, description="What the sum is divided by, however many updates come.")


class Charge(Message):
    """What a commit has released, and what is spent with it."""

    mode: Mode
    unit: Literal["Site"] = "Site"
    adjacency: Literal["ZeroOut"] = "ZeroOut"
    clip_norm: float = Field(gt=0)
    noise_multiplier: float = Field(gt=0)
    rho: float | None = Field(
        None,
        ge=0,
        exclude_if=lambda value: value is None,
        description="With mode Distributed: zCDP of all that was released since the commit before, failed attempts included.",
    )
    epsilon: float = Field(ge=0, description="Spent by all commits up to this one, at delta.")
    delta: float = Field(gt=0, lt=1)
