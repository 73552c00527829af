"""The routes of a site: next (long poll), uploads, updates, evaluations, failures. All need the site's identity."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fedaggregator.engine.engine import Engine
from fedaggregator.engine.intake import Intake
from fedaggregator.errors import RequestRefusedError
from fedaggregator.http import messages, protocol, refusals
from fedaggregator.limits import Limits
from fedaggregator.ports import Delivery, Holder, Identity
from fedaggregator.publisher import Publisher
from fedapi.wire.message import Message
from fedapi.wire.site import (
    Assignment,
    EvaluateOrder,
    EvaluationReport,
    FailureReport,
    NextRequest,
    Refusal,
    TrainOrder,
    UpdateEnvelope,
    UploadRequest,
)
from fedcore.rounds import admission, assignment, planning
from fedcore.rounds.compatibility import Speech
from fedcore.rounds.state import State

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
        limits: Limits,
    ) -> None:
        self._engine, self._intake, self._publisher = engine, intake, publisher
        self._identity, self._delivery, self._limits = identity, delivery, limits

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
        return messages.sent(await self._intake.update(client, await self._message(request, client, UpdateEnvelope)))

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

    async def _message(self, request: Request, client: str, model: type[_M]) -> _M:
        """What a proven site says."""
        try:
            return await messages.received(request.receive, model, self._limits)
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

    def _assigned(self, client: str, asked: NextRequest) -> Assignment:
        state = self._engine.state
        last = state.site(client).committed if asked.protocol > 1 else None
        kind = assignment.kind(state, client, asked.doing)
        return Assignment(
            kind=kind,
            train=self._train(state, client) if kind == "Train" else None,
            evaluate=self._evaluate(state, client) if kind == "Evaluate" else None,
            committed=(last.round, last.attempt) if last else None,
            committed_sha256=last.sha256 if last else None,
        )

    def _train(self, state: State, client: str) -> TrainOrder | None:
        attempt = state.current
        if attempt is None:
            return None
        plan = attempt.plan
        return TrainOrder(
            round=plan.round,
            attempt=plan.attempt,
            model=self._delivery.offer(plan.base, Holder(client)),
            evaluate=plan.evaluate_base,
            deadline=attempt.deadline_at,
            seed=state.config.seed,
            training=plan.training,
        )

    def _evaluate(self, state: State, client: str) -> EvaluateOrder | None:
        if state.tip is None:
            return None
        model = self._delivery.offer(state.tip.model, Holder(client))
        return EvaluateOrder(round=state.tip.round, model=model, training=state.config.training)
