"""Messages of secure aggregation: what hub and sites say to each other in one attempt at a round. Pure, and without a key.

Used by fedcore.secagg, which says what each is answered with. All that is signed is bound to the attempt's terms, and from the
shares on to its participants. Bytes are base64 in JSON; names are in order wherever they are a set.
"""

import hashlib
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from fedapi.wire.message import Inline, Message, Name, Natural, Sha256

MAX_SITES = 1024
KEY_BYTES, SIGNATURE_BYTES = 32, 64
SHARE_BYTES = 33  # an element of the field of 2^256 + 297
SEALED_BYTES = 2 * SHARE_BYTES + 16  # two shares and a tag
MAX_ITEMS = 1 << 36
LEAST_GROUPS = 3  # of fewer, half are not honest with a single malicious site


def _in_order(names: tuple[str, ...]) -> tuple[str, ...]:
    if any(first >= second for first, second in pairwise(names)):
        raise ValueError("names are not in order, each once")
    return names


Key = Annotated[Inline, Field(min_length=KEY_BYTES, max_length=KEY_BYTES)]
Signature = Annotated[Inline, Field(min_length=SIGNATURE_BYTES, max_length=SIGNATURE_BYTES)]
Share = Annotated[Inline, Field(min_length=SHARE_BYTES, max_length=SHARE_BYTES)]
Sealed = Annotated[Inline, Field(min_length=SEALED_BYTES, max_length=SEALED_BYTES)]
SiteName = Annotated[Name, Field(min_length=1)]
Names = Annotated[tuple[SiteName, ...], Field(max_length=MAX_SITES), AfterValidator(_in_order)]


class Groups(Message):
    """Sites that are summed together, instead of all: so that a malicious one spoils one sum of many."""

    size: int = Field(ge=2, le=MAX_SITES, description="Sites of a group at least.")
    minimum: int = Field(ge=LEAST_GROUPS, le=MAX_SITES, description="Groups that must stay to the end.")


Scheme = Literal["CKKS"]


class Terms(Message):
    """What an attempt is about. Whoever has other terms has other keys, and no mask of theirs cancels."""

    job_uid: Name
    round: Natural
    attempt: Natural
    base_sha256: Sha256 = Field(description="Of the model that is trained on.")
    roster: dict[SiteName, Key] = Field(max_length=MAX_SITES, description="The selected sites' Ed25519 public keys.")
    threshold: int = Field(ge=2, description="Sites that must stay to the end; a sum of fewer is never opened.")
    colluding: int = Field(ge=0, description="Sites that may work together with the hub and still learn nothing.")
    minimum_cohort: int = Field(ge=2, description="Updates that a sum has at least.")
    items: int = Field(ge=1, le=MAX_ITEMS, description="Values of an update.")
    limit: float = Field(gt=0, le=1e30, description="The largest size of a value.")
    order_sha256: Sha256 | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="Of what all sites are ordered alike (wire.commonorder); a site takes part in nothing else.",
    )
    groups: Groups | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="Participants are dealt into groups, each with a sum of its own; None: all are in one sum.",
    )
    scheme: Scheme | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="By which updates are encrypted, and added so (wire.encryptedsum); None: they are masked.",
    )
    earlier_makers: Names = Field(
        (),
        exclude_if=lambda value: not value,
        description="Sites that were to make the key in attempts of the round that came to nothing: others are asked first.",
    )

    @model_validator(mode="after")
    def _sound(self) -> Self:
        sites = len(self.roster)
        if len(set(self.roster.values())) < sites:
            raise ValueError("roster: two sites have one key")
        if not self.threshold <= sites:
            raise ValueError(f"threshold: {self.threshold} is more than the {sites} sites")
        if 2 * self.threshold <= sites + self.colluding:
            least = (sites + self.colluding) // 2 + 1
            raise ValueError(
                f"threshold: {self.threshold} of {sites} sites with {self.colluding} colluding lets a hub open two sums; at least {least}"
            )
        if self.scheme is not None and self.colluding:
            raise ValueError(
                f"colluding: {self.colluding}, but each site has the key of encrypted updates: it must be 0"
            )
        if self.scheme is not None and self.groups is not None:
            raise ValueError(f"groups: {self.groups.size}, but encrypted updates are in one sum")
        if not self.colluding + 2 <= self.minimum_cohort <= sites:
            raise ValueError(
                f"minimum_cohort: {self.minimum_cohort} is not from {self.colluding + 2} (colluding + 2) to {sites} (sites)"
            )
        if self.groups is not None and not self.minimum_cohort <= self.groups.size <= sites // self.groups.minimum:
            raise ValueError(
                f"groups: {self.groups.minimum} groups of {self.groups.size} sites are not of {self.minimum_cohort} (minimum_cohort) "
                f"or more, from {sites} sites"
            )
        return self

    def context(self) -> bytes:
        """SHA-256 of the terms: what all keys and signatures are bound to."""
        return hashlib.sha256(b"fedloom secagg terms\0" + self.canonical()).digest()


class Advertisement(Message):
    """A site's public keys for this attempt, and what its self-mask's seed is committed to; signed by its own key."""

    site: SiteName
    mask_key: Key
    share_key: Key
    seed_commitment: Sha256
    signature: Signature


class Participants(Message):
    """All who advertised in time, by name."""

    advertisements: tuple[Advertisement, ...] = Field(max_length=MAX_SITES)
    whole_samples: Natural | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="An update of so many samples, or more, counts whole, others in proportion; None: all count alike.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        _in_order(tuple(each.site for each in self.advertisements))
        return self

    def fingerprint(self) -> bytes:
        """SHA-256 of what they advertised and how they are weighed: what all keys from here on are bound to."""
        found = hashlib.sha256(b"fedloom secagg participants\0")
        if self.whole_samples is not None:
            found.update(b"whole samples\0" + self.whole_samples.to_bytes(8))
        for each in self.advertisements:
            name = each.site.encode()
            found.update(len(name).to_bytes(2) + name + each.mask_key + each.share_key)
            found.update(bytes.fromhex(each.seed_commitment) + each.signature)
        return found.digest()


class Shares(Message):
    """A site's shares, each encrypted to its holder."""

    site: SiteName
    participants_sha256: Sha256
    sealed: dict[SiteName, Sealed] = Field(max_length=MAX_SITES)


class Delivery(Message):
    """To one site: who shared, and what was encrypted to this site."""

    sharers: Names
    sealed: dict[SiteName, Sealed] = Field(max_length=MAX_SITES)


class SurvivorSet(Message):
    """Whose masked updates are summed: each site, and the SHA-256 of what it sent."""

    participants_sha256: Sha256
    sharers: Names
    survivors: dict[SiteName, Sha256] = Field(max_length=MAX_SITES)


class Consent(Message):
    """A site's signature over the survivor set: it will sign no other one in this attempt."""

    site: SiteName
    signature: Signature


class UnmaskRequest(Message):
    """Asks for shares of the survivors' seeds and of the mask keys of who was lost, and shows that the sites agree on who is which."""

    seeds_of: Names
    mask_keys_of: Names
    consents: tuple[Consent, ...] = Field(max_length=MAX_SITES)


class Opening(Message):
    """The shares that a site holds, by whose they are."""

    site: SiteName
    seeds: dict[SiteName, Share] = Field(max_length=MAX_SITES)
    mask_keys: dict[SiteName, Share] = Field(max_length=MAX_SITES)
