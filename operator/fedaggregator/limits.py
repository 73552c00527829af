"""What one client, one site and all of them together may cost the HTTPS port: settings with defaults, read once.

Used by __main__, which hands them to http/; told to users in docs/security.md. Raises this process's own limit of open
files too, since every connection is one.
"""

import logging
import resource

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from fedapi.wire.encryptedsum import MAX_KEY_BYTES
from fedapi.wire.message import LONGEST_NAME, MAX_INLINE_BYTES
from fedapi.wire.secagg import SEALED_BYTES

log = logging.getLogger(__name__)
_MARKS = 6  # of a name and a text in JSON: quotes, colon and comma
_OTHER_FILES = 256  # open files beside connections: store, log, configuration, up to three per transfer


class Limits(BaseSettings):
    """Bounds of the HTTPS port. Unauthenticated: no request on it has shown a token or a signed URL."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True, case_sensitive=True)

    connections: int = Field(
        4096,
        validation_alias="FEDLOOM_HTTP_CONNECTIONS",
        ge=8,
        description="Connections in all. Over it, whoever holds most gives up the oldest.",
    )
    unauthenticated: int = Field(
        512,
        validation_alias="FEDLOOM_HTTP_UNAUTHENTICATED",
        ge=4,
        description="Connections that have not shown a token or a signed URL. Over it, the address that holds most gives up the oldest.",
    )
    connections_per_site: int = Field(
        16,
        validation_alias="FEDLOOM_HTTP_CONNECTIONS_PER_SITE",
        ge=3,
        description="Connections of one site; over it its oldest one is closed.",
    )
    transfers: int = Field(
        64, validation_alias="FEDLOOM_HTTP_TRANSFERS", ge=1, description="Models and updates under way at once, in all."
    )
    downloads_per_site: int = Field(
        3,
        validation_alias="FEDLOOM_HTTP_DOWNLOADS_PER_SITE",
        ge=1,
        description="Models that one site fetches at once, those that wait included.",
    )
    transfer_wait_s: float = Field(
        45.0,
        validation_alias="FEDLOOM_HTTP_TRANSFER_WAIT_S",
        ge=0,
        description="Seconds that a transfer waits for its turn before it is told to come again; trainers wait 60 s for an answer.",
    )
    request_line_bytes: int = Field(
        8192, validation_alias="FEDLOOM_HTTP_REQUEST_LINE_BYTES", ge=2048, description="Longest URL of a request."
    )
    header_bytes: int = Field(
        16384, validation_alias="FEDLOOM_HTTP_HEADER_BYTES", ge=1024, description="All headers of a request together."
    )
    headers: int = Field(
        64, validation_alias="FEDLOOM_HTTP_HEADERS", ge=16, description="Number of headers of a request."
    )
    message_bytes: int = Field(
        32768,
        validation_alias="FEDLOOM_HTTP_MESSAGE_BYTES",
        ge=16384,
        description="Longest message of a site, less the update that comes in it.",
    )
    inline_bytes: int = Field(
        65536,
        validation_alias="FEDLOOM_HTTP_INLINE_BYTES",
        ge=0,
        le=MAX_INLINE_BYTES,
        description="Largest model, and largest update, that travels in a message instead of by a URL of its own; 0: none does.",
    )
    handshake_s: float = Field(
        10.0, validation_alias="FEDLOOM_HTTP_HANDSHAKE_S", gt=0, description="Seconds for the TLS handshake."
    )
    header_s: float = Field(
        10.0,
        validation_alias="FEDLOOM_HTTP_HEADER_S",
        gt=0,
        description="Seconds from the start of a connection, or the first byte of a request, until its headers are there; the same for a message.",
    )
    idle_s: float = Field(
        120.0,
        validation_alias="FEDLOOM_HTTP_IDLE_S",
        gt=0,
        description="Seconds that a site's connection is kept between two requests.",
    )
    stall_s: float = Field(
        60.0,
        validation_alias="FEDLOOM_HTTP_STALL_S",
        gt=0,
        description="Seconds after which a body that does not come, or an answer that is not read, is given up.",
    )
    least_bytes_per_s: int = Field(
        1024,
        validation_alias="FEDLOOM_HTTP_LEAST_BYTES_PER_S",
        ge=1,
        description="Bodies and answers that are slower than this for the same time are given up too.",
    )
    linger_s: float = Field(
        2.0,
        validation_alias="FEDLOOM_HTTP_LINGER_S",
        gt=0,
        description="Seconds that a client has to hang up after its last answer before it is cut off.",
    )

    @property
    def update_bytes(self) -> int:
        """Longest message that hands in an update: what comes in it is base64."""
        return self.message_bytes + _base64(self.inline_bytes)

    def exchange_bytes(self, sites: int) -> int:
        """Longest message of an exchange among so many sites: it may bring something to each of them, and a key of all."""
        return self.message_bytes + _base64(MAX_KEY_BYTES) + sites * (LONGEST_NAME + _base64(SEALED_BYTES) + _MARKS)


def _base64(size: int) -> int:
    """Characters of so many bytes."""
    return -(-size // 3) * 4


def within_open_files(limits: Limits) -> Limits:
    """Raises the limit of open files as far as the system lets us; limits that would not fit into it are lowered."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    room = limits.connections if hard == resource.RLIM_INFINITY else max(8, hard - _OTHER_FILES)
    if limits.connections <= room:
        return limits
    reason = f"{hard} open files are allowed, {_OTHER_FILES} are needed otherwise: raise the limit of the container"
    log.warning("fewer connections than set", extra={"fields": {"connections": room, "reason": reason}})
    return limits.model_copy(
        update={"connections": room, "unauthenticated": min(limits.unauthenticated, max(4, room // 2))}
    )
