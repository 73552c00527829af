"""Times as the API has them. Pure."""

from datetime import UTC, datetime


def time_text(at: float) -> str:
    """Seconds since the epoch as RFC 3339, to the second."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
