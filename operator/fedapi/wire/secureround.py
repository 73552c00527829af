"""A round of whose updates the hub sees the sum alone: what its plan and orders say, and the one question that a site asks again and again. Pure.

    POST /v1/sites/{client}/secure   SecureSaid -> SecureAnswer   (long poll: held up to wait_s)

Updates are masked (wire.secagg), or encrypted with a key of the sites (wire.encryptedsum). A site trains first, then goes through
Advertise, Share, Mask, Consent and Open. The answer names the step whose words the hub has not, with what they need; the masked or
encrypted update itself, and the numbers of an encrypted sum, go the way of all uploads. So whoever was killed, site or hub,
asks, or is asked, again: what is said again is the same to the byte.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from fedapi.wire.download import Download
from fedapi.wire.encryptedsum import KeyDelivery, OpenedSum, SealedKey, SumRequest
from fedapi.wire.message import Message, Natural, Record
from fedapi.wire.privacy import Mechanism
from fedapi.wire.secagg import (
    Advertisement,
    Consent,
    Delivery,
    Groups,
    Key,
    Opening,
    Participants,
    Scheme,
    Shares,
    SiteName,
    SurvivorSet,
    Terms,
    UnmaskRequest,
)
from fedapi.wire.signature import SaidKeyId, SaidSignature

Step = Literal["Advertise", "Share", "Mask", "Consent", "Open"]
Overflow = Literal["Fail", "Clip"]
FIELDS: Mapping[Scheme | None, str] = MappingProxyType(  # of a job, by scheme
    {None: "privacy.secureAggregation", "CKKS": "privacy.homomorphicEncryption"}
)
FILES = MappingProxyType(  # of an attempt's folder: what closed a step. The Mask step is closed by close.json
    {
        "Advertise": "secure-participants.json",
        "Share": "secure-shares.json",
        "Consent": "secure-consents.json",
        "Open": "secure-openings.json",
    }
)
Grouping = Annotated[
    Groups | None,
    Field(
        exclude_if=lambda value: value is None,
        description="How sites are dealt into groups, each with a sum of its own; None: all are in one sum.",
    ),
]
PlannedScheme = Annotated[
    Scheme | None,
    Field(
        exclude_if=lambda value: value is None,
        description="By which updates are encrypted, with a key of the sites; None: they are masked.",
    ),
]
Names = Annotated[
    tuple[str, ...] | None,
    Field(
        exclude_if=lambda value: value is None,
        description="The tensors that are summed, of those that travel; None: all that are floating-point numbers.",
    ),
]


class SecureSettings(Message):
    """What a job asks for: spec.privacy.secureAggregation, or homomorphicEncryption."""

    threshold: int | Annotated[str, Field(max_length=8)] | None = Field(
        None,
        description="Sites that must stay to the end: a count or a percentage; None: the quorum. More where fewer are not sound.",
    )
    colluding: int = Field(1, ge=0, description="Sites that may work together with the hub and still learn nothing.")
    value_range: float = Field(gt=0, le=1e30, description="The largest size of an update's value.")
    overflow: Overflow = Field("Fail", description="What becomes of larger ones.")
    exchange_timeout_s: float = Field(gt=0, description="How long a step waits for sites; training is not one.")
    groups: Grouping = None
    scheme: PlannedScheme = None

    @property
    def cohort(self) -> int:
        """Updates that a sum has at least: those of two sites beside the colluding ones, or it were one site's."""
        return self.colluding + 2

    @property
    def fewest(self) -> int:
        """Sites without which no sum is opened, whatever share of the selected ones is asked for."""
        count = self.threshold if isinstance(self.threshold, int) else 0
        return max(self.cohort, count, self.groups.size * self.groups.minimum if self.groups else 0)

    @property
    def said(self) -> str:
        """What of the job says so."""
        field = FIELDS[self.scheme]
        return (
            f"{field}.threshold is {self.threshold}"
            if self.fewest == self.threshold
            else f"{field} needs {self.fewest}"
        )


EarlierMakers = Annotated[
    tuple[SiteName, ...],
    Field(
        exclude_if=lambda value: not value,
        description="Selected sites that were to make the key in attempts of the round that came to nothing.",
    ),
]


class SecurePlan(Message):
    """How the updates of a planned round are summed. With the plan's job, round, attempt and base these are the terms."""

    roster: dict[SiteName, Key] = Field(description="The selected sites' Ed25519 public keys.")
    threshold: int = Field(ge=2)
    colluding: int = Field(ge=0)
    minimum_cohort: int = Field(ge=2)
    items: int = Field(ge=1)
    tensors: Names = None
    value_range: float = Field(gt=0)
    overflow: Overflow
    exchange_timeout_s: float = Field(gt=0)
    groups: Grouping = None
    scheme: PlannedScheme = None
    earlier_makers: EarlierMakers = ()


PlannedMasks = Annotated[
    SecurePlan | None,
    Field(
        exclude_if=lambda value: value is None,
        description="How updates are summed, under masks or encrypted; None: each is seen by itself.",
    ),
]


class SecureOrder(Message):
    """In an order to train: the update is masked or encrypted, and never leaves the site without."""

    terms: Terms
    overflow: Overflow
    tensors: Names = None
    privacy: Mechanism | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="The site clips its update and adds its share of the noise (mode Distributed) before it masks or encrypts.",
    )


Masking = Annotated[  # of an order
    SecureOrder | None,
    Field(
        exclude_if=lambda value: value is None,
        description="Updates are summed, under masks or encrypted; in jobs whose sites all have the feature `secagg`, or `encrypted-sums`. Without it they are not.",
    ),
]
Masked = Annotated[  # of a payload
    bool,
    Field(
        exclude_if=lambda value: not value,
        description="The object is no file of tensors, but their values under masks: integers of 32 bits, little-endian. With a tag "
        "they are encrypted: coefficients of 64 bits, little-endian.",
    ),
]
Clipped = Annotated[
    Natural,
    Field(
        exclude_if=lambda value: not value,
        description="Values beyond the range of the sum, which were set to its end.",
    ),
]


class SecureSaid(Message):
    """A site says what it was asked for, if anything, and asks what is next. What it says is signed, as an update is."""

    said_only: ClassVar[bool] = True

    round: Natural
    attempt: Natural
    wait_s: float = Field(25.0, ge=0, le=300)
    samples: Natural | None = Field(None, description="With the advertisement: of the update that is to be summed.")
    advertisement: Advertisement | None = None
    shares: Shares | None = None
    key: SealedKey | None = Field(None, exclude_if=lambda value: value is None)
    consent: Consent | None = None
    opening: Opening | None = None
    numbers: OpenedSum | None = Field(None, exclude_if=lambda value: value is None)
    signature: SaidSignature = None
    key_id: SaidKeyId = None

    @property
    def says(self) -> Advertisement | Shares | SealedKey | Consent | Opening | OpenedSum | None:
        """What of the exchange it says; None: it only asks."""
        return next(iter(self._said), None)

    @property
    def _said(self) -> tuple[Advertisement | Shares | SealedKey | Consent | Opening | OpenedSum, ...]:
        parts = (self.advertisement, self.shares, self.key, self.consent, self.opening, self.numbers)
        return tuple(each for each in parts if each is not None)

    @model_validator(mode="after")
    def _one(self) -> "SecureSaid":
        if len(self._said) > 1:
            raise ValueError("advertisement, shares, key, consent, opening and numbers are said one at a time")
        if (self.samples is None) != (self.advertisement is None):
            raise ValueError("samples come with the advertisement, and with nothing else")
        return self


class SecureAnswer(Message):
    """The step that the hub waits for with this site, or that there is none now. Over: the site's part in the attempt has ended."""

    step: Step | Literal["Wait", "Over"]
    participants: Participants | None = Field(None, description="To Share; with encryption to Mask, too.")
    delivery: Delivery | None = Field(None, description="To Mask.")
    key: KeyDelivery | None = Field(
        None, exclude_if=lambda value: value is None, description="To Mask, with encryption."
    )
    survivors: SurvivorSet | None = Field(None, description="To Consent.")
    request: UnmaskRequest | None = Field(None, description="To Open.")
    sum: SumRequest | None = Field(
        None, exclude_if=lambda value: value is None, description="To Open an encrypted sum."
    )
    encrypted: Download | None = Field(
        None, exclude_if=lambda value: value is None, description="The sum itself: coefficients, as of an update."
    )


class StepRecord(Record):
    """What sites said in one step of an attempt's exchange, once that is closed: durable before anybody hears of it (FILES)."""

    job_uid: str
    round: int
    attempt: int
    step: Step
    samples: dict[SiteName, Natural] = Field({}, exclude_if=lambda value: not value, description="Of participants.")
    participants: Participants | None = Field(None, exclude_if=lambda value: value is None)
    shares: tuple[Shares, ...] = Field((), exclude_if=lambda value: not value)
    key: SealedKey | None = Field(None, exclude_if=lambda value: value is None)
    consents: tuple[Consent, ...] = Field((), exclude_if=lambda value: not value)
    openings: tuple[Opening, ...] = Field((), exclude_if=lambda value: not value)
    numbers: tuple[OpenedSum, ...] = Field((), exclude_if=lambda value: not value)


class SummedGroup(Message):
    """Sites whose updates are in a commit as one mean (secureAggregation.groups)."""

    number: int = Field(ge=0)
    sites: tuple[str, ...]
    norm: float | None = Field(
        None, ge=0, exclude_if=lambda value: value is None, description="Of the mean, where it was judged."
    )


SummedGroups = Annotated[  # of a commit
    tuple[SummedGroup, ...],
    Field(
        exclude_if=lambda value: not value,
        description="Those whose means are in its model, where sites are summed in groups.",
    ),
]
