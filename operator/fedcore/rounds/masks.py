"""An exchange whose updates are masked: shares of keys in Share, masked updates in Mask, shares of seeds in Open. Pure.

The state machine is fedcore.secagg.hub.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

from fedapi.wire.secagg import Delivery
from fedapi.wire.secureround import SecureSaid, StepRecord
from fedapi.wire.update import UPDATE, Payload, UpdateManifest
from fedcore.rounds.exchange import Exchange, Said, Told, core, without
from fedcore.secagg.errors import AttemptFailedError, RefusedError

if TYPE_CHECKING:
    from fedcore.secagg.hub import HubState

VALUE_BYTES = 4  # under a mask


@dataclass(frozen=True)
class MaskedExchange(Exchange):
    """What was said so far of masked updates."""

    deliveries: Mapping[str, Delivery] = field(default_factory=dict)  # once all have shared

    named = "under masks"

    @property
    def sharing(self) -> Collection[str]:
        """All participants."""
        return self.participants

    @property
    def shared(self) -> Collection[str]:
        """Who has shared its keys."""
        return self.hub.shares.keys()

    @property
    def openers(self) -> Collection[str]:
        """Who has said the shares that it holds."""
        return self.hub.openings.keys()

    def brought(self, told: Told, client: str) -> Said:
        """Its sealed shares to Mask, and whose it is to open."""
        match told:
            case "Mask":
                return {"delivery": self.deliveries[client]}
            case "Open":
                return {"request": self.hub.request}
            case _:
                return {}

    def with_part(self, what: SecureSaid) -> Self:
        """With shares, or an opening."""
        if what.shares is not None:
            return replace(self, hub=core().shared(self.hub, what.shares))
        if what.opening is not None:
            return replace(self, hub=core().opened(self.hub, what.opening))
        raise RefusedError("updates are masked, and what is said is of encrypted ones")

    def with_update(self, client: str, payload: Payload) -> "HubState":
        """By its digest."""
        found: HubState = core().masked(self.hub, client, payload.object.sha256)
        return found

    def update_bytes(self, items: int) -> int:
        """Integers of 32 bits."""
        return VALUE_BYTES * items

    def unfit(self, payload: Payload) -> str:
        """A tag is of encrypted updates."""
        return "tag is said, and masked updates have none" if payload.tag is not None else ""

    def closed_sharing(self, failed: Collection[str]) -> tuple[Self, Said]:
        """With what each sharer is told."""
        hub = self.hub.model_copy(update={"shares": without(self.hub.shares, failed)})
        hub, deliveries = core().deliveries(hub)
        said = {"shares": tuple(hub.shares[client] for client in sorted(hub.shares))}
        return replace(self, hub=hub, deliveries=deliveries), said

    def closed_opening(self) -> Said:
        """The openings, by which masks are taken off."""
        openings, least = self.hub.openings, self.hub.terms.threshold
        if len(openings) < least:
            raise AttemptFailedError(f"{len(openings)} openings are below the threshold of {least}")
        return {"openings": tuple(openings[client] for client in sorted(openings))}

    def sums(self) -> Mapping[int, tuple[str, ...]]:
        """Of all survivors, or of each group that has opened."""
        found: Mapping[int, tuple[str, ...]] = core().summed(self.hub)
        return found

    def resumed_sharing(self, record: StepRecord) -> Self:
        """With the shares, unless an aggregator that was overtaken has recorded them, of other participants."""
        participants = self.hub.participants
        fingerprint = participants.fingerprint().hex() if participants else ""
        if any(each.participants_sha256 != fingerprint for each in record.shares):
            return self
        hub = self.hub.model_copy(update={"shares": {each.site: each for each in record.shares}})
        hub, deliveries = core().deliveries(hub)
        return replace(self, hub=hub, deliveries=deliveries)

    def resumed_masking(self, updates: Iterable[UpdateManifest]) -> Self:
        """By their digests."""
        masked = {each.client: each.payloads[UPDATE].object.sha256 for each in updates}
        return replace(self, hub=self.hub.model_copy(update={"masked_sha256": masked}))

    def resumed_opening(self, record: StepRecord) -> Self:
        """With the openings."""
        openings = {each.site: each for each in record.openings}
        return replace(self, hub=self.hub.model_copy(update={"openings": openings}))
