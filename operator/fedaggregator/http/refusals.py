"""HTTP statuses of refusals (documented in fedapi.wire.site) and the handlers that turn errors into them."""

import logging
from collections.abc import Mapping
from types import MappingProxyType

from starlette.requests import Request
from starlette.responses import Response

from fedaggregator.errors import Fatal, RefusedRequest
from fedapi.wire.site import Refusal

_LOG = logging.getLogger(__name__)

# 410 for Missing: the site does the same as for an expired URL, it asks for a new one.
STATUS: Mapping[str, int] = MappingProxyType(
    {
        "Unauthorized": 401, "NotInJob": 403,
        "StaleRound": 409, "StaleAttempt": 409, "NotSelected": 409, "WrongBase": 409, "Duplicate": 409,
        "Expired": 410, "Missing": 410,
        "TooLarge": 413,
        "WrongDigest": 422, "WrongSize": 422, "WrongShape": 422, "NotFinite": 422, "Malformed": 422,
        "StoreFull": 503, "Stopping": 503,
    }
)  # fmt: skip


def answer(refusal: Refusal) -> Response:
    """A refusal as a response. The connection is closed, since a body may not have been read."""
    headers = {"connection": "close"} | ({"retry-after": "1"} if STATUS[refusal.code] == 503 else {})
    return Response(refusal.model_dump_json(), STATUS[refusal.code], headers, "application/json")


async def refused(_: Request, error: Exception) -> Response:
    """RefusedRequest to its response."""
    if not isinstance(error, RefusedRequest):
        raise error
    return answer(error.refusal)


async def stopping(_: Request, __: Exception) -> Response:
    """The process is ending: the site asks again later."""
    return answer(Refusal(code="Stopping", message="the aggregator is restarting: ask again"))


HANDLERS = {RefusedRequest: refused, Fatal: stopping}
