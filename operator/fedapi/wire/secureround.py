"""A round whose updates are summed under masks: what its plan and orders say, and the one question that a site asks again and again. Pure.

    POST /v1/sites/{client}/secure   SecureSaid -> SecureAnswer   (long poll: held up to wait_s)

A site trains first, then goes through Advertise, Share, Mask, Consent and Open (wire.secagg). The answer names the step whose words
the hub has not, with what they need; the masked update itself goes the way of all updates. So whoever was killed, site or hub,
asks, or is asked, again: what is said again is the same to the byte.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from fedapi.wire.message import Message, Natural
from fedapi.wire.privacy import Mechanism
from fedapi.wire.secagg import (
    Advertisement,
    Consent,
    Delivery,
    Key,
    Opening,
    Participants,
    Shares,
    SiteName,
    SurvivorSet,
    Terms,
    UnmaskRequest,
)

Step = Literal["Advertise", "Share", "Mask", "Consent", "Open"]
Overflow = Literal["Fail", "Clip"]


class SecureSettings(Message):
    """What a job asks for: spec.privacy.secureAggregation."""

    threshold: Annotated[str, Field(max_length=16)] | None = Field(
        None,
        description="Sites that must stay to the end: a count or a percentage; None: the quorum, or the least that is sound.",
    )
    colluding: int = Field(1, ge=0, description="Sites that may work together with the hub and still learn nothing.")
    value_range: float = Field(gt=0, le=1e30, description="The largest size of an update's value.")
    overflow: Overflow = Field("Fail", description="What becomes of larger ones.")
    exchange_timeout_s: float = Field(gt=0, description="How long a step waits for sites; training is not one.")


class SecurePlan(Message):
    """How the updates of a planned round are summed. With the plan's job, round, attempt and base these are the terms."""

    roster: dict[SiteName, Key] = Field(description="The selected sites' Ed25519 public keys.")
    threshold: int = Field(ge=2)
    colluding: int = Field(ge=0)
    minimum_cohort: int = Field(ge=2)
    items: int = Field(ge=1)
    value_range: float = Field(gt=0)
    overflow: Overflow
    exchange_timeout_s: float = Field(gt=0)


class SecureOrder(Message):
    """In an order to train: the update is masked, and never leaves the site without."""

    terms: Terms
    overflow: Overflow
    privacy: Mechanism | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="The site clips its update and adds its share of the noise (mode Distributed) before it masks.",
    )


class SecureSaid(Message):
    """A site says what it was asked for, if anything, and asks what is next."""

    round: Natural
    attempt: Natural
    wait_s: float = Field(25.0, ge=0, le=300)
    samples: Natural | None = Field(None, description="With the advertisement: of the update that is to be masked.")
    advertisement: Advertisement | None = None
    shares: Shares | None = None
    consent: Consent | None = None
    opening: Opening | None = None

    @model_validator(mode="after")
    def _one(self) -> "SecureSaid":
        if sum(each is not None for each in (self.advertisement, self.shares, self.consent, self.opening)) > 1:
            raise ValueError("advertisement, shares, consent and opening are said one at a time")
        if (self.samples is None) != (self.advertisement is None):
            raise ValueError("samples come with the advertisement, and with nothing else")
        return self


class SecureAnswer(Message):
    """The step that the hub waits for with this site, or that there is none now. Over: the site's part in the attempt has ended."""

    step: Step | Literal["Wait", "Over"]
    participants: Participants | None = Field(None, description="To Share.")
    delivery: Delivery | None = Field(None, description="To Mask.")
    survivors: SurvivorSet | None = Field(None, description="To Consent.")
    request: UnmaskRequest | None = Field(None, description="To Open.")
