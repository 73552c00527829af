"""How far the sites of an attempt are of which only the sum of updates is seen, and what each has to do next. Pure.

The state has one for the attempt under way; secure.py takes it from step to step. Updates are masked (masks.py) or encrypted
(encryption.py): what differs between these is theirs. What sites said is in a state machine of fedcore.secagg.hub, which is loaded where
it is needed alone, with `cryptography` behind it.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, Self

from fedapi.wire.secureround import SecureAnswer, SecureSaid, Step, StepRecord
from fedapi.wire.update import UPDATE, Payload, UpdateManifest
from fedcore.secagg.errors import RefusedError

if TYPE_CHECKING:
    from fedcore.secagg.hub import HubState

Told = Step | Literal["Wait", "Over"]
Said = Mapping[str, Any]  # fields of a StepRecord


@cache
def core() -> ModuleType:
    """The hub's side of the exchange itself."""
    from fedcore.secagg import hub  # noqa: PLC0415 - `cryptography` is loaded where updates are masked

    return hub


@dataclass(frozen=True)
class Exchange(ABC):
    """What was said so far."""

    hub: "HubState"
    samples: Mapping[str, int] = field(default_factory=dict)  # announced with the advertisements
    until: float | None = None  # when the step ends, whoever is missing; None: Advertise, which ends as other rounds do

    @cached_property
    def step(self) -> Step:
        """The one under way."""
        hub = self.hub
        if hub.participants is None:
            return "Advertise"
        if hub.sharers is None:
            return "Share"
        if hub.survivors is None:
            return "Mask"
        return "Consent" if hub.request is None else "Open"

    @cached_property
    def asked(self) -> Collection[str]:
        """Sites that have a part in the step: in all steps after it, too, as long as they do theirs."""
        hub = self.hub
        match self.step:
            case "Advertise":
                return hub.terms.roster.keys()
            case "Share":
                return self.sharing
            case "Mask":
                return hub.sharers or ()
            case "Consent":
                return hub.survivors.survivors.keys() if hub.survivors else ()
            case "Open":  # who has not signed the survivor set opens nothing
                return hub.consents.keys() & set(hub.request.seeds_of if hub.request else ())

    @cached_property
    def participants(self) -> Collection[str]:
        """Sites that have advertised in time, once that is over."""
        return {each.site for each in self.hub.participants.advertisements} if self.hub.participants else ()

    @cached_property
    def counted(self) -> Collection[str]:
        """Sites whose updates count, once that is agreed on: with groups those whose group agrees so far."""
        hub = self.hub
        if hub.request is not None:
            return hub.request.seeds_of
        return hub.survivors.survivors.keys() if hub.survivors else ()

    @property
    def done(self) -> Collection[str]:
        """Sites that have done theirs."""
        hub = self.hub
        match self.step:
            case "Advertise":
                return hub.advertisements.keys()
            case "Share":
                return self.shared
            case "Mask":
                return hub.masked_sha256.keys()
            case "Consent":
                return hub.consents.keys()
            case "Open":
                return self.openers

    def told(self, client: str) -> Told:
        """What a site of the attempt, which has not failed, is to do."""
        if client not in self.asked:
            return "Wait" if self.step == "Share" and client in self.participants else "Over"
        if client not in self.done:
            return "Wait" if self.is_adding else self.step
        return "Over" if self.step == "Open" else "Wait"

    def answer(self, client: str) -> SecureAnswer:
        """The same with what it needs for it."""
        told, hub = self.told(client), self.hub
        answer = SecureAnswer(
            step=told,
            participants=hub.participants if told == "Share" else None,
            survivors=hub.survivors if told == "Consent" else None,
        )
        return answer.model_copy(update=dict(self.brought(told, client)))

    def heard(self, what: SecureSaid) -> Self:
        """With what a site says. RefusedError says why not."""
        hub = self.hub
        if what.advertisement is not None and what.samples is not None:
            before = self.samples.get(what.advertisement.site, what.samples)
            if before != what.samples:
                raise RefusedError(f"samples {what.samples} are not the {before} that were announced before")
            samples = {**self.samples, what.advertisement.site: what.samples}
            return replace(self, hub=core().advertised(hub, what.advertisement), samples=samples)
        if what.consent is not None:
            return replace(self, hub=core().consented(hub, what.consent))
        return self.with_part(what)

    def handed_in(self, manifest: UpdateManifest) -> Self:
        """With a site's update, which is there."""
        payload = manifest.payloads[UPDATE]
        return replace(self, hub=self.with_update(manifest.client, payload))

    def opened(self) -> frozenset[str]:
        """Whose updates are in a sum that was opened. AttemptFailedError where that is none."""
        return frozenset(name for sites in self.sums().values() for name in sites)

    @property
    def is_adding(self) -> bool:
        """Whether the hub itself is at work, so that no site is asked for anything and no time ends the step."""
        return False

    @property
    def maker(self) -> str | None:
        """Who makes the key of all sites, once that is drawn; None: nobody."""
        return None

    @property
    @abstractmethod
    def named(self) -> str:
        """How updates are summed, for people: `under masks`."""

    @property
    @abstractmethod
    def sharing(self) -> Collection[str]:
        """Sites that have something to say in Share."""

    @property
    @abstractmethod
    def shared(self) -> Collection[str]:
        """Those that have said it."""

    @property
    @abstractmethod
    def openers(self) -> Collection[str]:
        """Those that have opened the sum."""

    @abstractmethod
    def brought(self, told: Told, client: str) -> Said:
        """Fields of an answer that are not the same for each kind."""

    @abstractmethod
    def with_part(self, what: SecureSaid) -> Self:
        """With what a site says in Share or in Open. RefusedError says why not."""

    @abstractmethod
    def with_update(self, client: str, payload: Payload) -> "HubState":
        """What is known with the update that a site has handed in."""

    @abstractmethod
    def update_bytes(self, items: int) -> int:
        """Bytes of an update of so many values."""

    @abstractmethod
    def unfit(self, payload: Payload) -> str:
        """What is wrong with how an update is said to be; empty: nothing."""

    @abstractmethod
    def closed_sharing(self, failed: Collection[str]) -> tuple[Self, Said]:
        """Share is over: what is known without the failed sites, and what is recorded. AttemptFailedError where too few are left."""

    @abstractmethod
    def closed_opening(self) -> Said:
        """Open is over: what is recorded. AttemptFailedError where nothing was opened."""

    @abstractmethod
    def sums(self) -> Mapping[int, tuple[str, ...]]:
        """Whose updates are in one sum, by its number. AttemptFailedError where none was opened."""

    @abstractmethod
    def resumed_sharing(self, record: StepRecord) -> Self:
        """As the record of Share says; as it is where that is of others."""

    @abstractmethod
    def resumed_masking(self, updates: Iterable[UpdateManifest]) -> Self:
        """With the updates that were handed in before a restart."""

    @abstractmethod
    def resumed_opening(self, record: StepRecord) -> Self:
        """As the record of Open says."""


def without(said: Mapping[str, Any], failed: Collection[str]) -> dict[str, Any]:
    """Without what sites said that have failed since."""
    return {client: each for client, each in said.items() if client not in failed}
