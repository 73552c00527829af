"""An exchange whose updates are encrypted with a key of the sites: the key in Share, encrypted updates in Mask, what sites read in Open. Pure.

The state machine is fedcore.homomorphic.hub. Before sites open the sum the hub adds it up, which takes long: AddUp, and AddedUp.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Self

from fedapi.wire.encryptedsum import TAG_BYTES
from fedapi.wire.message import ObjectRef
from fedapi.wire.secureround import SecureSaid, StepRecord
from fedapi.wire.update import Payload, UpdateManifest
from fedcore.rounds.exchange import Exchange, Said, Told
from fedcore.secagg.errors import RefusedError

if TYPE_CHECKING:
    from fedcore.homomorphic.hub import EncryptedState

NUMBER_BYTES = 4  # of the sum, as sites say it


@cache
def encrypted() -> ModuleType:
    """The hub's side of it."""
    from fedcore.homomorphic import hub  # noqa: PLC0415 - `cryptography` is loaded where updates are encrypted

    return hub


@dataclass(frozen=True)
class EncryptedExchange(Exchange):
    """What was said so far of encrypted updates."""

    hub: "EncryptedState"
    total: ObjectRef | None = None  # the sum, once it is there

    named = "by encryption"

    @property
    def sharing(self) -> Collection[str]:
        """The one that makes the key."""
        return (encrypted().maker(self.hub),)

    @property
    def shared(self) -> Collection[str]:
        """It, once it has."""
        return (self.hub.key.site,) if self.hub.key else ()

    @property
    def openers(self) -> Collection[str]:
        """Who has said what the sum is."""
        return self.hub.numbers.keys()

    @property
    def is_adding(self) -> bool:
        """Between Consent and the sum."""
        return self.step == "Open" and self.total is None

    @property
    def maker(self) -> str | None:
        """Drawn with the participants."""
        return str(encrypted().maker(self.hub)) if self.hub.participants else None

    def brought(self, told: Told, client: str) -> Said:
        """The key to Mask, and what shows that the sum is what was agreed on; the sum itself is added by who can offer it."""
        match told:
            case "Mask":
                return {"participants": self.hub.participants, "key": encrypted().delivery(self.hub, client)}
            case "Open":
                return {"sum": encrypted().sum_request(self.hub)}
            case _:
                return {}

    def with_part(self, what: SecureSaid) -> Self:
        """With the key, or with what a site says the sum is."""
        if what.key is not None:
            return replace(self, hub=encrypted().keyed(self.hub, what.key))
        if what.numbers is None:
            raise RefusedError("updates are encrypted, and what is said is of masked ones")
        return replace(self, hub=encrypted().opened(self.hub, what.numbers))

    def with_update(self, client: str, payload: Payload) -> "EncryptedState":
        """By its digest and its tag."""
        found: EncryptedState = encrypted().handed_in(
            self.hub, client, payload.object.sha256, payload.tag or bytes(TAG_BYTES)
        )
        return found

    def update_bytes(self, items: int) -> int:
        """Of all ciphertexts."""
        from fedcore.homomorphic import addition  # noqa: PLC0415 - numpy is loaded where updates are encrypted

        return addition.size(items)

    def unfit(self, payload: Payload) -> str:
        """Whether it has a tag."""
        from fedcore.homomorphic import addition, errors  # noqa: PLC0415 - as above

        if payload.tag is None:
            return "tag is missing, and encrypted updates have one"
        try:
            addition.tag_numbers(payload.tag)
        except errors.MalformedError as error:
            return f"tag: {error}"
        return ""

    def closed_sharing(self, failed: Collection[str]) -> tuple[Self, Said]:  # noqa: ARG002 - its maker may fail once it has said it
        """With the key."""
        hub = encrypted().delivered(self.hub)
        return replace(self, hub=hub), {"key": hub.key}

    def closed_opening(self) -> Said:
        """What the sites have said, which is the same."""
        encrypted().agreed(self.hub)
        return {"numbers": tuple(self.hub.numbers[client] for client in sorted(self.hub.numbers))}

    def sums(self) -> Mapping[int, tuple[str, ...]]:
        """One, of all survivors."""
        encrypted().agreed(self.hub)
        return {0: tuple(sorted(self.counted))}

    def resumed_sharing(self, record: StepRecord) -> Self:
        """With the key, unless an aggregator that was overtaken has recorded it, for other participants."""
        participants, key = self.hub.participants, record.key
        if key is None or participants is None or key.participants_sha256 != participants.fingerprint().hex():
            return self
        return replace(self, hub=encrypted().delivered(self.hub.model_copy(update={"key": key})))

    def resumed_masking(self, updates: Iterable[UpdateManifest]) -> Self:
        """One by one, with their tags."""
        found = self
        for each in updates:
            found = found.handed_in(each)
        return found

    def resumed_opening(self, record: StepRecord) -> Self:
        """With what sites have said."""
        numbers = {each.site: each for each in record.numbers}
        return replace(self, hub=self.hub.model_copy(update={"numbers": numbers}))


def with_sum(exchange: Exchange, total: ObjectRef) -> Exchange:
    """The exchange once its sum is there."""
    return replace(exchange, total=total) if isinstance(exchange, EncryptedExchange) else exchange
