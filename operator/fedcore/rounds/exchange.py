"""How far the sites of an attempt are whose updates are summed under masks, and what each has to do next. Pure.

The state has one for the attempt under way; secure.py takes it from step to step. What sites said is in the state machine of
fedcore.secagg.hub. It is loaded where it is needed alone, with `cryptography` behind it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from fedapi.wire.secagg import Delivery
from fedapi.wire.secureround import SecureAnswer, Step

if TYPE_CHECKING:
    from fedcore.secagg.hub import HubState

Told = Step | Literal["Wait", "Over"]


@dataclass(frozen=True)
class Exchange:
    """What was said so far."""

    hub: "HubState"
    samples: Mapping[str, int] = field(default_factory=dict)  # announced with the advertisements
    until: float | None = None  # when the step ends, whoever is missing; None: Advertise, which ends as other rounds do
    deliveries: Mapping[str, Delivery] = field(default_factory=dict)  # once all have shared

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
                return {each.site for each in hub.participants.advertisements} if hub.participants else ()
            case "Mask":
                return hub.sharers or ()
            case "Consent":
                return hub.survivors.survivors.keys() if hub.survivors else ()
            case "Open":  # who has not signed the survivor set opens nothing
                return hub.consents.keys() & set(hub.request.seeds_of if hub.request else ())

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
                return hub.shares.keys()
            case "Mask":
                return hub.masked_sha256.keys()
            case "Consent":
                return hub.consents.keys()
            case "Open":
                return hub.openings.keys()

    def told(self, client: str) -> Told:
        """What a site of the attempt, which has not failed, is to do."""
        if client not in self.asked:
            return "Over"
        if client not in self.done:
            return self.step
        return "Over" if self.step == "Open" else "Wait"

    def answer(self, client: str) -> SecureAnswer:
        """The same with what it needs for it."""
        told, hub = self.told(client), self.hub
        return SecureAnswer(
            step=told,
            participants=hub.participants if told == "Share" else None,
            delivery=self.deliveries[client] if told == "Mask" else None,
            survivors=hub.survivors if told == "Consent" else None,
            request=hub.request if told == "Open" else None,
        )
