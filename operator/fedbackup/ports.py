"""Ports of the process: who is told the facts, and who has the API's objects. Adapters are beside, in adapters/."""

from collections.abc import Callable, Sequence
from typing import Protocol

from fedapi.jsonvalue import Json, JsonView


class Facts(Protocol):
    """`.status.backup` of the job."""

    def told(self) -> JsonView:
        """What is there; empty where nothing is. StatusRefusedError where it cannot be read."""

    def change(self, change: Callable[[JsonView], Json]) -> None:
        """Makes what is there into what is true now. StatusRefusedError where it cannot be written."""


class Objects(Protocol):
    """What the API server, or a folder of manifests, has of the job."""

    def of_job(self, clients: Sequence[str]) -> list[Json]:
        """The FederatedJob and these FLClients; what is gone is left out. StatusRefusedError where it may not be read."""
