"""`POST /heartbeat` and `GET /sites`: what is asked, who may, and the answers.

The token is looked at before the body is read where its form alone refuses it, and after it for whose it is: the body
names the site. Writes go to a bounded number of threads; when too many wait, the site is told to come again.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from fedaggregator import accesslog, refusallog
from fedaggregator.errors import RequestRefusedError
from fedaggregator.http import messages, protocol, refusals
from fedaggregator.limits import Limits
from fedapi.wire import registry as wire
from fedapi.wire.registry import Claims, Heard, Heartbeat
from fedapi.wire.site import Refusal
from fedregistry import metrics
from fedregistry.identity import Tokens, looks_like_one
from fedregistry.readings import Readings
from fedstore.errors import StoreError
from fedstore.siteregistry import SiteRegistry

log = logging.getLogger(__name__)
MESSAGE_BYTES = 8 << 10
WAITING = 512  # heartbeats that wait for a thread


class Routes:
    """The routes over one registry."""

    def __init__(
        self,
        registry: SiteRegistry,
        readings: Readings,
        tokens: Tokens,
        limits: Limits,
        threads: ThreadPoolExecutor,
        clock: Callable[[], float],
    ) -> None:
        self._registry, self._readings, self._tokens, self._limits = registry, readings, tokens, limits
        self._threads, self._clock = threads, clock
        self._waiting = 0

    def application(self) -> Starlette:
        """To be served."""
        return Starlette(
            routes=[
                Route(wire.HEARTBEAT, self.heartbeat, methods=["POST"]),
                Route(wire.SITES, self.sites, methods=["GET"]),
            ],
            exception_handlers={HTTPException: _no_route, RequestRefusedError: _refused},
        )

    async def heartbeat(self, request: Request) -> Response:
        """Takes in a heartbeat."""
        accesslog.note(action="heartbeat")
        shown = request.headers.get("authorization", "")
        if not looks_like_one(shown):
            raise _refusal("Unauthorized", "there is no token of a site: send Authorization: Bearer TOKEN")
        said = await messages.received(request.receive, Heartbeat, self._limits, MESSAGE_BYTES)
        if doubt := self._tokens.site_doubt(said.client_id, shown):
            raise _refusal("Unauthorized", doubt)
        protocol.proved(request.scope, said.client_id, "Token")
        now = self._clock()
        await self._written(said, now)
        return messages.sent(Heard(time=datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")))

    async def sites(self, request: Request) -> Response:
        """All sites."""
        accesslog.note(action="sites")
        if doubt := self._tokens.reader_doubt(request.headers.get("authorization", "")):
            raise _refusal("Unauthorized", doubt)
        protocol.proved(request.scope, "reader", "Token")
        found = self._readings.sites()
        if found is None:
            raise _refusal("Busy", "the table was not read lately: ask again")
        return messages.sent(found)

    async def _written(self, said: Heartbeat, now: float) -> None:
        if self._waiting >= WAITING:
            raise _refusal("Busy", "too many heartbeats wait for the table: send it again")
        claims = Claims(capability=said.capability, organization=said.organization, labels=said.labels)
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            written = await loop.run_in_executor(self._threads, self._registry.heard, said.client_id, claims, now)
        except StoreError as error:
            metrics.HEARTBEATS.labels("Failed").inc()
            log.warning("a heartbeat was not written", extra={"fields": {"site": said.client_id, "reason": str(error)}})
            raise _refusal("Busy", "the table cannot be written now: send it again") from error
        finally:
            self._waiting -= 1
        metrics.HEARTBEATS.labels("Written" if written else "Recent").inc()


def _refusal(code: str, message: str) -> RequestRefusedError:
    return RequestRefusedError(Refusal.model_validate({"code": code, "message": message}))


async def _refused(_: Request, error: Exception) -> Response:
    if not isinstance(error, RequestRefusedError):
        raise error
    metrics.REFUSALS.labels(error.refusal.code).inc()
    refusallog.note("refused", code=error.refusal.code, reason=error.refusal.message)
    return refusals.answer(error.refusal)


async def _no_route(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    metrics.REFUSALS.labels("NoRoute").inc()
    accesslog.note(outcome="NoRoute")
    refusallog.note("refused", code="NoRoute", reason=f"{request.method} {request.scope['path']}")
    return PlainTextResponse(f"there are POST {wire.HEARTBEAT} and GET {wire.SITES}", status)
