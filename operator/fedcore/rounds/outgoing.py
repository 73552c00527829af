"""What is made of a committed model for the way down to the sites. Pure; a part of the state."""

from dataclasses import dataclass

from fedapi.wire.compression import Broadcast, Encoding
from fedapi.wire.message import ObjectRef


@dataclass(frozen=True)
class Outgoing:
    """A committed model that is to be encoded for the way down: the same bytes whenever that is done."""

    round: int  # the first whose sites get it
    model: ObjectRef
    encoding: Encoding
    seed: int
    reference: ObjectRef | None = None  # the model that sites have: its change since then is what is encoded


@dataclass(frozen=True)
class Sent:
    """What was made of a committed model."""

    what: Outgoing
    broadcast: (
        Broadcast | None
    )  # None: it goes as it is, since a delta is not smaller, or there is nothing to take it from
    reference: ObjectRef | None = None  # what the delta makes
