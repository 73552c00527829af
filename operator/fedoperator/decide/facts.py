"""The small values that policies return, and instants as text. Used by every policy beside it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

MAX_MESSAGE = 1024
Status = Literal["True", "False", "Unknown"]


@dataclass(frozen=True)
class Fact:
    """What a condition will say."""

    status: Status
    reason: str
    message: str = ""


@dataclass(frozen=True)
class Trouble:
    """Why a pod or a Job does not do its work. Overdue: it has lasted longer than spec.pendingDeadline."""

    reason: str
    message: str
    overdue: bool = False
    fatal: bool = False


@dataclass(frozen=True)
class Ending:
    """That the job has ended. By whom: the aggregator's outcome, or the operator (then nothing is waited for)."""

    complete: bool
    reason: str
    message: str
    time: datetime
    by_aggregator: bool
    recorded: bool = False  # the status already says so


def instant(text: str) -> datetime:
    """A point in time from RFC 3339; times without a zone are UTC."""
    parsed = datetime.fromisoformat(text)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def stamp(at: datetime) -> str:
    """RFC 3339 in UTC, to the second, as Kubernetes writes it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def clipped(text: str, limit: int = MAX_MESSAGE) -> str:
    """A message no longer than the API takes."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
