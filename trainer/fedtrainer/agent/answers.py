"""From an error answer of the aggregator to the error that says what to do next. Used by control.py and bulk.py.

The table is the one in fedapi.wire.site. Pure.
"""

from pydantic import ValidationError

from fedapi.wire.site import Refusal
from fedtrainer.agent.patience import RetryError
from fedtrainer.errors import DroppedError, LinkExpiredError, RefusedError, RejectedError, TrainerError


def error(status: int, body: bytes) -> TrainerError | None:
    """None for a 2xx status."""
    if status // 100 == 2:
        return None
    code, message = _refusal(status, body)
    if status in (408, 429) or status >= 500 or code == "NotInJob":
        # A site may be newer than the roster that the aggregator has mounted: the kubelet refreshes it within minutes.
        return RetryError(f"HTTP {status} {message}")
    if status in (401, 403):
        return RefusedError(f"the aggregator refuses this site: {message}")
    if status == 409:
        return DroppedError(message)
    if status in (404, 410):
        return LinkExpiredError(message)
    return RejectedError(code, f"HTTP {status} {message}")


def _refusal(status: int, body: bytes) -> tuple[str, str]:
    try:
        refusal = Refusal.told(body)
    except ValidationError:
        return f"HTTP{status}", body[:200].decode(errors="replace")
    return refusal.code, f"{refusal.code}: {refusal.message}"
