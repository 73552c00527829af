"""The routes of a site: next and secure (long polls), uploads, updates, evaluations, failures, entrust, recall, attest. All need the site's identity."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fedaggregator import accesslog
from fedaggregator.errors import RequestRefusedError
from fedaggregator.http import messages, protocol, refusals
from fedaggregator.limits import Limits
from fedaggregator.ports import Identity
from fedaggregator.requests.sites import SiteRequests
from fedapi.wire.attestation import AttestationRequest
from fedapi.wire.entrusted import EntrustRequest, RecallRequest
from fedapi.wire.message import Message
from fedapi.wire.secureround import SecureSaid
from fedapi.wire.site import EvaluationReport, FailureReport, NextRequest, UploadRequest
from fedapi.wire.update import HandedUpdate

_M = TypeVar("_M", bound=Message)
Post = Callable[[Request], Awaitable[Response]]


class SiteRoutes:
    """What sites ask."""

    def __init__(self, sites: SiteRequests, identity: Identity, limits: Limits) -> None:
        self._sites, self._identity, self._limits = sites, identity, limits

    def routes(self) -> list[Route]:
        """The routes of fedapi.wire.site."""
        sites = self._sites
        posts = {
            "next": self.next,
            "secure": self.secure,
            "uploads": self._taking(UploadRequest, sites.upload),
            "updates": self._taking(HandedUpdate, sites.update, self._limits.update_bytes),
            "evaluations": self._taking(EvaluationReport, sites.evaluation),
            "failures": self._taking(FailureReport, sites.failure),
            "entrust": self._taking(EntrustRequest, sites.entrust),
            "recall": self._taking(RecallRequest, sites.recall),
            "attest": self._taking(AttestationRequest, sites.attest),
        }
        return [
            Route(f"/v1/sites/{{client}}/{name}", self._readable(name, post), methods=["POST"])
            for name, post in posts.items()
        ]

    def _readable(self, name: str, post: Post) -> Post:
        """The same route, whose refusals a site of version 0.1 can read."""

        async def route(request: Request) -> Response:
            accesslog.note(action=name)
            try:
                return await post(request)
            except RequestRefusedError as error:
                return refusals.answer(error.refusal, self._sites.protocol(str(request.path_params["client"])))

        return route

    async def next(self, request: Request) -> Response:
        """What to do now; held until there is something or the time is over."""
        client = await self._proven(request)
        asked = await self._message(request, client, NextRequest)
        gone = asyncio.ensure_future(messages.gone(request.receive))
        try:
            assigned = await self._sites.next(client, asked, gone)
            accesslog.concerns(assigned.train or assigned.evaluate)
            return messages.sent(assigned)
        finally:
            gone.cancel()

    async def secure(self, request: Request) -> Response:
        """What to do next in an exchange of secure aggregation; held as above."""
        client = await self._proven(request)
        await self._sites.heard(client)
        sites = self._sites.selected
        said = await self._message(request, client, SecureSaid, self._limits.exchange_bytes(sites), sites)
        accesslog.concerns(said)
        gone = asyncio.ensure_future(messages.gone(request.receive))
        try:
            return messages.sent(await self._sites.secure(client, said, gone))
        finally:
            gone.cancel()

    def _taking(
        self, model: type[_M], take: Callable[[str, _M], Awaitable[Message]], most_bytes: int | None = None
    ) -> Post:
        """The route of one message that is answered at once."""

        async def post(request: Request) -> Response:
            client = await self._proven(request)
            await self._sites.heard(client)
            message = await self._message(request, client, model, most_bytes)
            accesslog.concerns(message)
            return messages.sent(await take(client, message))

        return post

    async def _message(
        self, request: Request, client: str, model: type[_M], most_bytes: int | None = None, sites: int = 0
    ) -> _M:
        """What a proven site says."""
        try:
            return await messages.received(request.receive, model, self._limits, most_bytes, sites)
        except RequestRefusedError as error:
            await self._sites.refused(client, error.refusal)
            raise

    async def _proven(self, request: Request) -> str:
        """The site that asks, proven and of this job."""
        client = str(request.path_params["client"])
        try:
            doubt = self._identity.doubt(client, protocol.shown(request.scope))
        except RequestRefusedError as error:
            await self._sites.refused("", error.refusal)
            raise
        await self._sites.admit(client, doubt)
        protocol.proved(request.scope, client, "Token")
        return client
