"""What the aggregator needs from outside, as protocols. Adapters are in adapters/; seams for what comes later.

`Identity` is a token, and a client's certificate where one is shown; a signed request is another adapter of the same port.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from fedapi.jsonvalue import JsonView
from fedapi.wire.attestation import Attestation, AttestationRequest
from fedapi.wire.download import Download
from fedapi.wire.message import ObjectRef
from fedapi.wire.site import UploadGrant
from fedstore.fencing import Fence


@dataclass(frozen=True)
class ClientCertificate:
    """What of a client's certificate matters here."""

    subjects: tuple[str, ...]  # URIs of whom it names
    ends: float  # seconds since the epoch


@dataclass(frozen=True)
class Shown:
    """What a request shows of who makes it, before its body is read: of the connection and of the request's head."""

    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)  # a token is among them
    certificate: ClientCertificate | None = None  # verified in the handshake; None: it showed none


@dataclass(frozen=True)
class Holder:
    """Whom a URL is made for, and for which attempt; round and attempt are 0 where it is for none."""

    client: str
    round: int = 0
    attempt: int = 0

    def text(self) -> str:
        """As it stands in what is signed."""
        return f"{self.client}/{self.round}/{self.attempt}"

    @classmethod
    def of(cls, text: str) -> "Holder":
        """From a text whose signature is good."""
        client, round_, attempt = text.split("/")
        return cls(client, int(round_), int(attempt))


INITIALIZER = Holder("@init")  # the init step; no FLClient can have that name


class Identity(Protocol):
    """Who makes a request."""

    def doubt(self, client: str, shown: Shown) -> str:
        """Why the request is not that site's, with what is wrong; empty when it is."""

    def init_doubt(self, shown: Shown) -> str:
        """The same of the job's init step."""

    def url_doubt(self, holder: Holder, shown: Shown) -> str:
        """Why a request with a URL that was made for somebody comes by a connection that is not his."""


class Delivery(Protocol):
    """How models, and what a site entrusted, reach sites and what sites make reaches the store: by expiring URLs, whoever serves them."""

    async def offer(self, model: ObjectRef, to: Holder) -> Download:
        """Where a model, or a state, is fetched; its receiver checks the SHA-256. StoreError when that cannot be said now."""

    async def grant(self, upload: ObjectRef, to: Holder) -> UploadGrant:
        """Where an announced object is put, once, with the size and the SHA-256 that were announced. StoreError as above."""

    def arrived(self, upload: ObjectRef) -> None:
        """RequestRefusedError unless the store holds the object as it was announced. Blocks; nothing is parsed before."""


class StatusSink(Protocol):
    """Where the job's status goes. All calls may block and are made in a thread; StatusUnavailableError: try later."""

    def publish(self, status: JsonView) -> None:
        """Writes the aggregator's leaves of `.status`, all of them."""

    def last(self) -> JsonView:
        """The status of this very job as it is there; empty where there is none."""

    def heard(self, client: str, ago_s: float) -> None:
        """Renews the heartbeat of a site that was heard from so many seconds ago."""

    def job_deleted(self) -> bool:
        """Whether the job was deleted, as far as that can be told: no other aggregator goes on with it."""


class SoleWriter(Fence, Protocol):
    """The fence of a store that does not tell two writers apart, as its process has it: taken, kept, given up. Blocks."""

    waits_for: str  # for people, while it is not had

    def take(self, *, used: Callable[[], bool]) -> None:
        """Waits until this process has it, or `release` is called. `used`: whether anybody has written the job's store."""

    def keep(self, lost: Callable[[], None]) -> None:
        """Keeps it from now on; `lost` is called, in some thread, when somebody else has it."""

    def release(self) -> None:
        """Gives it up: nothing is written after that."""


class Attester(Protocol):
    """Who gives evidence of where this process runs."""

    async def attest(self, asked: AttestationRequest) -> Attestation:
        """Evidence for a site's nonce; RequestRefusedError: there is none, or none now."""


class Clock(Protocol):
    """Seconds since the epoch; never goes back."""

    def __call__(self) -> float:
        """Now."""
