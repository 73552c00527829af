"""Messages of the registry: what a site says of itself (`POST /heartbeat`), and what is known of all (`GET /sites`).

Read by the endpoint, by sites and by the operator. Amounts are Kubernetes quantities, as text.
"""

from typing import Annotated, Literal

from pydantic import Field

from fedapi.wire.message import Message

HEARTBEAT, SITES = "/heartbeat", "/sites"
STATES = ("Active", "Inactive", "Expired")

# NAMESPACE/NAME of the FLClient that the site is or becomes: what its token was made for.
ClientId = Annotated[
    str,
    Field(max_length=127, pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?$"),
]
Quantity = Annotated[str, Field(max_length=32, pattern=r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$")]
Short = Annotated[str, Field(max_length=63)]
Labels = Annotated[
    dict[
        Annotated[str, Field(max_length=316)],
        Annotated[str, Field(max_length=63, pattern=r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$")],
    ],
    Field(max_length=16),
]


class Capability(Message):
    """What a site says that it has. Nobody proves it."""

    cpu: Quantity | None = None
    memory: Quantity | None = None
    accelerator: Short | None = None


class Claims(Message):
    """What a site says of itself; its token proves its client id alone."""

    capability: Capability = Capability()
    organization: Annotated[str, Field(max_length=253)] | None = None
    labels: Labels = Field(default_factory=dict)


class Heartbeat(Claims):
    """A site is there."""

    client_id: ClientId


class Heard(Message):
    """Answer to a heartbeat."""

    acknowledged: Literal[True] = True
    time: str  # of the registry, RFC 3339


class Site(Claims):
    """A site as the registry knows it."""

    client_id: str
    last_seen: float  # seconds since the epoch
    status: Literal["Active", "Inactive", "Expired"]


class Sites(Message):
    """All sites at a time."""

    at: float  # seconds since the epoch
    sites: tuple[Site, ...]
