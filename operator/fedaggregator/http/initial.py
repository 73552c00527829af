"""The routes of the init Job: a grant for the initial model, and its manifest. Both need the init Job's identity."""

from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fedaggregator import accesslog
from fedaggregator.engine.initial import InitialModel
from fedaggregator.errors import RequestRefusedError
from fedaggregator.http import messages, protocol
from fedaggregator.limits import Limits
from fedaggregator.ports import INITIALIZER, Identity
from fedapi.wire.initial import INITIAL, InitialManifest, InitialUpload
from fedapi.wire.message import Message
from fedapi.wire.site import Refusal

_M = TypeVar("_M", bound=Message)


class InitialRoutes:
    """What the init Job asks."""

    def __init__(self, initial: InitialModel, identity: Identity, limits: Limits) -> None:
        self._initial, self._identity, self._limits = initial, identity, limits

    def routes(self) -> list[Route]:
        """The routes of fedapi.wire.initial."""
        posts = {"uploads": self.upload, "models": self.model}
        return [Route(f"{INITIAL}/{name}", post, methods=["POST"]) for name, post in posts.items()]

    async def upload(self, request: Request) -> Response:
        """Where to send the model."""
        try:
            return messages.sent(await self._initial.announced(await self._message(request, InitialUpload)))
        except RequestRefusedError as error:
            self._initial.refused(error.refusal)
            raise

    async def model(self, request: Request) -> Response:
        """Takes the model."""
        try:
            return messages.sent(await self._initial.handed_in(await self._message(request, InitialManifest)))
        except RequestRefusedError as error:
            self._initial.refused(error.refusal)
            raise

    async def _message(self, request: Request, model: type[_M]) -> _M:
        """What the init Job, which is proven first, says."""
        accesslog.note(action=f"initial-{request.url.path.rpartition('/')[2]}")
        if doubt := self._identity.init_doubt(protocol.shown(request.scope)):
            raise RequestRefusedError(Refusal(code="Unauthorized", message=doubt))
        protocol.proved(request.scope, INITIALIZER.client, "Token")
        return await messages.received(request.receive, model, self._limits)
