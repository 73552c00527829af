"""Refusals as HTTP answers, and the handlers that turn errors into them."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from fedaggregator import accesslog, metrics, refusallog
from fedaggregator.errors import FatalError, RequestRefusedError
from fedapi.wire import version1
from fedapi.wire.protocol import PROTOCOL
from fedapi.wire.site import Refusal
from fedapi.wire.statuses import STATUS


def answer(refusal: Refusal, protocol: int = PROTOCOL) -> Response:
    """A refusal as a response, in words that the asker's protocol has; the status says the same to all.

    The connection is closed, since a body may not have been read.
    """
    status = STATUS[refusal.code]
    accesslog.note(outcome=refusal.code)
    headers = {"connection": "close"} | ({"retry-after": "1"} if status == 503 else {})
    if protocol == 1:
        refusal = Refusal.model_validate({"code": version1.code(refusal.code), "message": refusal.message})
    return Response(refusal.model_dump_json(), status, headers, "application/json")


async def refused(_: Request, error: Exception) -> Response:
    """RequestRefusedError to its response."""
    if not isinstance(error, RequestRefusedError):
        raise error
    return answer(error.refusal)


async def stopping(_: Request, __: Exception) -> Response:
    """The process is ending: the site asks again later."""
    return answer(Refusal(code="Stopping", message="the aggregator is restarting: ask again"))


async def no_route(request: Request, error: Exception) -> Response:
    """What is asked for at no route, or with a method that it has not."""
    status, detail = (error.status_code, error.detail) if isinstance(error, HTTPException) else (500, "")
    code = "NoRoute" if status in (404, 405) else f"HTTP{status}"
    metrics.REFUSALS.labels(code).inc()
    accesslog.note(outcome=code)
    refusallog.note("refused", code=code, reason=f"{request.method} {request.scope['path']}")
    headers = error.headers if isinstance(error, HTTPException) else None
    return PlainTextResponse(detail, status, headers)


HANDLERS = {HTTPException: no_route, RequestRefusedError: refused, FatalError: stopping}
