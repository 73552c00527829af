"""The routes of a site: next (long poll), uploads, updates, evaluations, failures. All need the site's identity."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fedaggregator import metrics
from fedaggregator.engine.engine import Engine
from fedaggregator.engine.intake import Intake
from fedaggregator.errors import RequestRefusedError
from fedaggregator.http import messages, protocol, refusals
from fedaggregator.http.smallmodel import SmallModel
from fedaggregator.limits import Limits
from fedaggregator.ports import Delivery, Holder, Identity
from fedaggregator.publisher import Publisher
from fedapi.wire.message import Message, ObjectRef
from fedapi.wire.protocol import INLINE
from fedapi.wire.site import (
    Assignment,
    Download,
    EvaluateOrder,
    EvaluationReport,
    FailureReport,
    HandedUpdate,
    InlineUpload,
    NextRequest,
    Refusal,
    TrainOrder,
    UploadRequest,
)
from fedcore.rounds import admission, assignment, planning
from fedcore.rounds.compatibility import Speech
from fedcore.rounds.state import State
from fedstore.objectstore import DIGEST

_M = TypeVar("_M", bound=Message)
Post = Callable[[Request], Awaitable[Response]]


class SiteRoutes:
    """What sites ask."""

    def __init__(
        self,
        engine: Engine,
        intake: Intake,
        publisher: Publisher,
        identity: Identity,
        delivery: Delivery,
        small: SmallModel,
        limits: Limits,
    ) -> None:
        self._engine, self._intake, self._publisher = engine, intake, publisher
        self._identity, self._delivery, self._small, self._limits = identity, delivery, small, limits

    def routes(self) -> list[Route]:
        """The routes of fedapi.wire.site."""
        posts = {
            "next": self.next,
            "uploads": self.upload,
            "updates": self.update,
            "evaluations": self.evaluation,
            "failures": self.failure,
        }
        return [
            Route(f"/v1/sites/{{client}}/{name}", self._readable(post), methods=["POST"])
            for name, post in posts.items()
        ]

    def _readable(self, post: Post) -> Post:
        """The same route, whose refusals a site of version 0.1 can read."""

        async def route(request: Request) -> Response:
            try:
                return await post(request)
            except RequestRefusedError as error:
                return refusals.answer(error.refusal, self._engine.state.protocol(str(request.path_params["client"])))

        return route

    async def next(self, request: Request) -> Response:
        """What to do now; held until there is something or the time is over."""
        client = await self._proven(request)
        asked = await self._message(request, client, NextRequest)
        await self._heard(client, Speech(asked.protocol, asked.oldest_protocol, frozenset(asked.features)))
        loop = asyncio.get_running_loop()
        until = loop.time() + asked.wait_s
        gone = asyncio.ensure_future(messages.gone(request.receive))
        try:
            while True:
                await self._refuse_misfit(client)
                await self._read_small(asked)
                assigned = self._assigned(client, asked)
                over = loop.time() >= until or gone.done()  # who hung up is not waited with: it asks again and again
                if assigned.kind != "Wait" or self._engine.stopping or over:
                    return messages.sent(assigned)
                await self._engine.polls.hold(client, asked.doing, gone, until - loop.time())
        finally:
            gone.cancel()

    async def upload(self, request: Request) -> Response:
        """Where to send an update."""
        client = await self._client(request)
        asked = await self._message(request, client, UploadRequest)
        answer = admission.upload(self._engine.state, client, asked)
        if isinstance(answer, Refusal):
            await self._intake.refused(client, answer)
            raise RequestRefusedError(answer)
        return messages.sent(self._delivery.grant(answer, Holder(client, asked.round, asked.attempt)))

    async def update(self, request: Request) -> Response:
        """Takes an update."""
        client = await self._client(request)
        handed = await self._message(request, client, HandedUpdate, self._limits.update_bytes)
        if sum(map(len, handed.content.values())) > self._limits.inline_bytes:
            message = f"content is over {self._limits.inline_bytes} bytes: ask for a grant and send it"
            await self._intake.refused(client, refusal := Refusal(code="TooLarge", message=message))
            raise RequestRefusedError(refusal)
        return messages.sent(await self._intake.update(client, handed))

    async def evaluation(self, request: Request) -> Response:
        """Takes an evaluation."""
        client = await self._client(request)
        return messages.sent(
            await self._intake.evaluation(client, await self._message(request, client, EvaluationReport))
        )

    async def failure(self, request: Request) -> Response:
        """Takes a failure report."""
        client = await self._client(request)
        report = await self._message(request, client, FailureReport)
        try:
            return messages.sent(await self._intake.failure(client, report))
        except RequestRefusedError as error:
            await self._intake.refused(client, error.refusal)
            raise

    async def _message(self, request: Request, client: str, model: type[_M], most_bytes: int | None = None) -> _M:
        """What a proven site says."""
        try:
            return await messages.received(request.receive, model, self._limits, most_bytes)
        except RequestRefusedError as error:
            await self._intake.refused(client, error.refusal)
            raise

    async def _client(self, request: Request) -> str:
        """The site that says something, proven, of this job, and heard."""
        client = await self._proven(request)
        await self._heard(client, None)
        return client

    async def _heard(self, client: str, speech: Speech | None) -> None:
        await self._engine.heard(client, speech)
        self._publisher.heard(client)

    async def _refuse_misfit(self, client: str) -> None:
        """Tells a site that cannot be given work, because it would not understand it."""
        why = planning.misfit(self._engine.state, client)
        if why:
            refusal = Refusal(code="Incompatible", message=f"site {client!r}: {why}")
            await self._intake.refused(client, refusal)
            raise RequestRefusedError(refusal)

    async def _proven(self, request: Request) -> str:
        """The site that asks, proven and of this job."""
        client = str(request.path_params["client"])
        if doubt := self._identity.doubt(client, protocol.shown(request.scope)):
            refusal = Refusal(code="Unauthorized", message=doubt)
            await self._intake.refused("", refusal)
            raise RequestRefusedError(refusal)
        stranger = admission.stranger(self._engine.state, client)
        if stranger is not None:
            await self._intake.refused("", stranger)
            raise RequestRefusedError(stranger)
        protocol.proved(request.scope, client)
        return client

    async def _read_small(self, asked: NextRequest) -> None:
        """Makes the model ready that an order would bring, whichever it is by then."""
        while INLINE in asked.features and (model := _ordered(self._engine.state)) and not self._small.is_ready(model):
            await self._small.read(model)

    def _assigned(self, client: str, asked: NextRequest) -> Assignment:
        state, inline = self._engine.state, INLINE in asked.features
        last = state.site(client).committed if asked.protocol > 1 else None
        kind = assignment.kind(state, client, asked.doing)
        return Assignment(
            kind=kind,
            train=self._train(state, client, inline) if kind == "Train" else None,
            evaluate=self._evaluate(state, client, inline) if kind == "Evaluate" else None,
            committed=(last.round, last.attempt) if last else None,
            committed_sha256=last.sha256 if last else None,
        )

    def _train(self, state: State, client: str, inline: bool) -> TrainOrder | None:
        attempt = state.current
        if attempt is None:
            return None
        plan = attempt.plan
        return TrainOrder(
            round=plan.round,
            attempt=plan.attempt,
            model=self._offer(plan.base, client, inline),
            evaluate=plan.evaluate_base,
            deadline=attempt.deadline_at,
            seed=state.config.seed,
            training=plan.training,
            inline=self._inline_upload(state, client, plan.round) if inline else None,
        )

    def _evaluate(self, state: State, client: str, inline: bool) -> EvaluateOrder | None:
        if state.tip is None:
            return None
        model = self._offer(state.tip.model, client, inline)
        return EvaluateOrder(round=state.tip.round, model=model, training=state.config.training)

    def _offer(self, model: ObjectRef, client: str, inline: bool) -> Download:
        """By URL always: what is in the order may get spoilt on its way."""
        offer = self._delivery.offer(model, Holder(client))
        content = self._small.content(model) if inline else None
        if content is None:
            return offer
        metrics.BYTES.labels("out").inc(len(content))
        return offer.model_copy(update={"content": content})

    def _inline_upload(self, state: State, client: str, round_: int) -> InlineUpload | None:
        most = self._limits.inline_bytes
        return InlineUpload(max_bytes=most, key=state.layout.update(client, round_, DIGEST)) if most else None


def _ordered(state: State) -> ObjectRef | None:
    """The model that orders are about."""
    if state.current is not None:
        return state.current.plan.base
    return state.tip.model if state.tip is not None else None
