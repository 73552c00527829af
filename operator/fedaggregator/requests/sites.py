"""What a site asks and sends, and what it is answered. Called by the transports for a site that proved itself.

A site is admitted first, then heard, then what it says is taken: RequestRefusedError says why it is not, and is recorded.
"""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from fedaggregator import metrics, refusallog
from fedaggregator.engine.engine import Engine
from fedaggregator.engine.intake import Intake
from fedaggregator.engine.payloads import Payloads
from fedaggregator.errors import RequestRefusedError
from fedaggregator.limits import Limits
from fedaggregator.ports import Delivery, Holder
from fedaggregator.publisher import Publisher
from fedaggregator.requests.entrusted import EntrustedStates
from fedaggregator.requests.smallmodel import SmallModel
from fedapi.wire.message import Message, ObjectRef
from fedapi.wire.protocol import INLINE
from fedapi.wire.site import (
    Assignment,
    Download,
    EntrustAnswer,
    EntrustRequest,
    EvaluateOrder,
    EvaluationReport,
    FailureReport,
    HandedUpdate,
    InlineUpload,
    NextRequest,
    Recalled,
    RecallRequest,
    Receipt,
    Refusal,
    TrainOrder,
    UploadGrant,
    UploadRequest,
)
from fedapi.wire.store import PlanRecord
from fedcore.rounds import admission, assignment, planning
from fedcore.rounds.compatibility import Speech
from fedcore.rounds.state import State
from fedstore.errors import StoreError
from fedstore.objectstore import DIGEST

_M = TypeVar("_M", bound=Message)


class SiteRequests:
    """The questions and reports of a site."""

    def __init__(
        self,
        engine: Engine,
        intake: Intake,
        publisher: Publisher,
        delivery: Delivery,
        payloads: Payloads,
        small: SmallModel,
        limits: Limits,
        entrusted: EntrustedStates,
    ) -> None:
        self._engine, self._intake, self._publisher = engine, intake, publisher
        self._delivery, self._payloads, self._small, self._limits = delivery, payloads, small, limits
        self._entrusted = entrusted

    async def admit(self, client: str, doubt: str) -> None:
        """RequestRefusedError unless the site is proven and of this job. `doubt`: why it is not proven."""
        if doubt:
            await self.refused("", refusal := Refusal(code="Unauthorized", message=doubt))
            raise RequestRefusedError(refusal)
        stranger = admission.stranger(self._engine.state, client)
        if stranger is not None:
            await self.refused("", stranger)
            raise RequestRefusedError(stranger)

    async def refused(self, client: str, refusal: Refusal) -> None:
        """Records a refusal that a transport makes. No client: a stranger."""
        await self._intake.refused(client, refusal)

    def protocol(self, client: str) -> int:
        """What a site speaks, as far as it said."""
        return self._engine.state.protocol(client)

    async def heard(self, client: str, speech: Speech | None = None) -> None:
        """An admitted site made itself known."""
        await self._engine.heard(client, speech)
        self._publisher.heard(client)

    async def next(self, client: str, asked: NextRequest, gone: "asyncio.Future[None]") -> Assignment:
        """What to do now; held until there is something, the time is over, or nobody waits for it (`gone`)."""
        await self.heard(client, Speech(asked.protocol, asked.oldest_protocol, frozenset(asked.features)))
        loop = asyncio.get_running_loop()
        until = loop.time() + asked.wait_s
        while True:
            await self._refuse_misfit(client)
            await self._read_small(asked)
            assigned = await self._assigned(client, asked)
            over = loop.time() >= until or gone.done()  # who hung up is not waited with: it asks again and again
            if assigned.kind != "Wait" or self._engine.stopping or over:
                return assigned
            await self._engine.polls.hold(client, asked.doing, gone, until - loop.time())

    async def upload(self, client: str, asked: UploadRequest) -> UploadGrant:
        """Where to send an update."""
        answer = admission.upload(self._engine.state, client, asked)
        if isinstance(answer, Refusal):
            await self.refused(client, answer)
            raise RequestRefusedError(answer)
        try:
            grant = await self._delivery.grant(answer, Holder(client, asked.round, asked.attempt))
        except RequestRefusedError as error:
            await self.refused(client, error.refusal)
            raise
        except StoreError as error:
            raise self._unavailable(error) from error
        return grant.model_copy(update={"ca": None}) if self.protocol(client) == 1 else grant

    async def update(self, client: str, handed: HandedUpdate) -> Receipt:
        """Takes an update."""
        if sum(map(len, handed.content.values())) > self._limits.inline_bytes:
            message = f"content is over {self._limits.inline_bytes} bytes: ask for a grant and send it"
            await self.refused(client, refusal := Refusal(code="TooLarge", message=message))
            raise RequestRefusedError(refusal)
        return await self._intake.update(client, handed)

    async def evaluation(self, client: str, report: EvaluationReport) -> Receipt:
        """Takes an evaluation."""
        return await self._intake.evaluation(client, report)

    async def failure(self, client: str, report: FailureReport) -> Receipt:
        """Takes a failure report."""
        try:
            return await self._intake.failure(client, report)
        except RequestRefusedError as error:
            await self.refused(client, error.refusal)
            raise

    async def entrust(self, client: str, asked: EntrustRequest) -> EntrustAnswer:
        """Takes the state of a site, which only the site can read."""
        return await self._told(client, self._entrusted.entrust(client, asked))

    async def recall(self, client: str, asked: RecallRequest) -> Recalled:
        """Gives it back."""
        return await self._told(client, self._entrusted.recall(client, asked))

    async def _told(self, client: str, answer: Awaitable[_M]) -> _M:
        """What is refused of a site's state is no failure of the site."""
        try:
            return await answer
        except RequestRefusedError as error:
            metrics.REFUSALS.labels(error.refusal.code).inc()
            refusallog.note("refused", site=client, code=error.refusal.code, reason=error.refusal.message)
            raise
        except StoreError as error:
            raise self._unavailable(error) from error

    async def _refuse_misfit(self, client: str) -> None:
        """Tells a site that cannot be given work, because it would not understand it."""
        why = planning.misfit(self._engine.state, client)
        if why:
            refusal = Refusal(code="Incompatible", message=f"site {client!r}: {why}")
            await self.refused(client, refusal)
            raise RequestRefusedError(refusal)

    async def _read_small(self, asked: NextRequest) -> None:
        """Makes the model ready that an order would bring, whichever it is by then."""
        while INLINE in asked.features and (model := _ordered(self._engine.state)) and not self._small.is_ready(model):
            await self._small.read(model)

    async def _assigned(self, client: str, asked: NextRequest) -> Assignment:
        state, inline = self._engine.state, INLINE in asked.features
        last = state.site(client).committed if asked.protocol > 1 else None
        kind = assignment.kind(state, client, asked.doing)
        return Assignment(
            kind=kind,
            train=await self._train(state, client, inline) if kind == "Train" else None,
            evaluate=await self._evaluate(state, client, inline) if kind == "Evaluate" else None,
            committed=(last.round, last.attempt) if last else None,
            committed_sha256=last.sha256 if last else None,
        )

    async def _train(self, state: State, client: str, inline: bool) -> TrainOrder | None:
        attempt = state.current
        if attempt is None:
            return None
        plan = attempt.plan
        return TrainOrder(
            round=plan.round,
            attempt=plan.attempt,
            model=await self._offer(plan.base, client, inline),
            evaluate=plan.evaluate_base,
            deadline=attempt.deadline_at,
            seed=state.config.seed,
            training=plan.training,
            inline=self._inline_upload(state, client, plan) if inline else None,
            encryption=self._payloads.encrypt(plan.encryption) if plan.encryption else None,
        )

    async def _evaluate(self, state: State, client: str, inline: bool) -> EvaluateOrder | None:
        if state.tip is None:
            return None
        model = await self._offer(state.tip.model, client, inline)
        return EvaluateOrder(round=state.tip.round, model=model, training=state.config.training)

    async def _offer(self, model: ObjectRef, client: str, inline: bool) -> Download:
        """By URL always: what is in the order may get spoilt on its way."""
        try:
            offer = await self._delivery.offer(model, Holder(client))
        except StoreError as error:
            raise self._unavailable(error) from error
        if self.protocol(client) == 1:
            offer = offer.model_copy(update={"ca": None})
        content = self._small.content(model) if inline else None
        if content is None:
            return offer
        metrics.BYTES.labels("out").inc(len(content))
        return offer.model_copy(update={"content": content})

    def _unavailable(self, error: StoreError) -> RequestRefusedError:
        self._engine.store_failed(error)
        message = f"the store makes no URL now ({type(error).__name__}): ask again"
        return RequestRefusedError(Refusal(code="StoreFull", message=message))

    def _inline_upload(self, state: State, client: str, plan: PlanRecord) -> InlineUpload | None:
        most = self._limits.inline_bytes
        key = state.layout.update(client, plan.round, DIGEST, encrypted=plan.encryption is not None)
        return InlineUpload(max_bytes=most, key=key) if most else None


def _ordered(state: State) -> ObjectRef | None:
    """The model that orders are about."""
    if state.current is not None:
        return state.current.plan.base
    return state.tip.model if state.tip is not None else None
