"""From an error answer of the aggregator, or of an object store, to the error that says what to do next. Pure.

Used by control.py and bulk.py. The table is the one in fedapi.wire.site.
"""

import re

from pydantic import ValidationError

from fedapi.wire.site import Refusal
from fedtrainer.agent.patience import RetryError
from fedtrainer.errors import DroppedError, GoneError, LinkExpiredError, RefusedError, RejectedError, TrainerError

_CODE = re.compile(rb"<Code>([A-Za-z0-9_.-]{1,64})</Code>")  # the rest of what stores say may hold what is signed


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


def of_store(status: int, body: bytes) -> TrainerError | None:
    """The same of an object store, which knows nothing of the job: what it refuses is asked for anew."""
    if status // 100 == 2:
        return None
    found = _CODE.search(body)
    message = f"the object store answers HTTP {status} {found[1].decode() if found else ''}".rstrip()
    if status in (404, 410):
        return GoneError(message)
    return RetryError(message) if status in (408, 409, 429) or status >= 500 else LinkExpiredError(message)


def _refusal(status: int, body: bytes) -> tuple[str, str]:
    try:
        refusal = Refusal.told(body)
    except ValidationError:
        return f"HTTP{status}", body[:200].decode(errors="replace")
    return refusal.code, f"{refusal.code}: {refusal.message}"
