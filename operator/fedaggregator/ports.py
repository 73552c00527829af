"""What the aggregator needs from outside, as protocols. Adapters are in adapters/; seams for what comes later.

`Authenticator` is a token today; signatures and mutual TLS implement the same port.
"""

from collections.abc import Mapping
from typing import Protocol

from fedapi.jsonvalue import JsonView


class Authenticator(Protocol):
    """Who may speak for a site."""

    def proves(self, client: str, headers: Mapping[str, str]) -> bool:
        """Whether the request comes from that site."""


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
