"""From bytes to a message, bounded in values before it is validated. Used by all transports.

Validation runs in the event loop, so what it costs is bounded by how many values it sees.
"""

from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import from_json

from fedaggregator.errors import RequestRefusedError, faults
from fedapi.wire.message import Message
from fedapi.wire.site import Refusal

_M = TypeVar("_M", bound=Message)
MOST_VALUES = 256  # keys and values of one message; the largest honest one has 100
_LONGEST_REASON = 900


def parsed(data: bytes, model: type[_M], sites: int = 0) -> _M:
    """The message in these bytes; RequestRefusedError names its faults. `sites`: to how many others it may bring something."""
    try:
        value = from_json(data)
    except ValueError as error:
        raise _malformed(f"not a {model.__name__}: {error}") from error
    if not _few(value, most := MOST_VALUES + sites):
        raise _malformed(f"not a {model.__name__}: it has more than {most} keys and values")
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise _malformed(f"not a {model.__name__}: {faults(error)}") from error


def _few(value: Any, most: int) -> bool:
    """Whether a JSON value has few parts, however they are nested. Stops counting when it does not."""
    left, waiting = most, [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict | list):
            left -= len(part)
            if left < 0:
                return False
            waiting.extend(part.values() if isinstance(part, dict) else part)
    return True


def _malformed(message: str) -> RequestRefusedError:
    return RequestRefusedError(Refusal(code="Malformed", message=message[:_LONGEST_REASON]))
