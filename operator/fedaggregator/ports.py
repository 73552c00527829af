"""What the aggregator needs from outside, as protocols. Adapters are in adapters/; seams for what comes later.

`Identity` is a token today; a client's certificate and a signed request are other adapters of the same port.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from fedapi.jsonvalue import JsonView


@dataclass(frozen=True)
class Shown:
    """What a request shows of who makes it, before its body is read: of the connection and of the request's head."""

    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)  # a token is among them
    certificate: bytes | None = None  # of the client, DER, verified in the handshake; None: it showed none


class Identity(Protocol):
    """Who makes a request."""

    def doubt(self, client: str, shown: Shown) -> str:
        """Why the request is not that site's, with what is wrong; empty when it is."""


class StatusSink(Protocol):
    """Where the job's status goes. Both calls may block and are made in a thread; StatusUnavailableError: try later."""

    def publish(self, status: JsonView) -> None:
        """Writes the aggregator's leaves of `.status`, all of them."""

    def heard(self, client: str) -> None:
        """Renews a site's heartbeat."""


class Clock(Protocol):
    """Seconds since the epoch; never goes back."""

    def __call__(self) -> float:
        """Now."""
