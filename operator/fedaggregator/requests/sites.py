"""What a site asks and sends, and what it is answered. Called by the transports for a site that proved itself.

A site is admitted first, then heard, then what it says is taken: RequestRefusedError says why it is not, and is recorded.
"""

import asyncio
from collections.abc import Awaitable
from functools import partial
from typing import TypeVar

from fedaggregator import metrics, refusallog
from fedaggregator.engine import recorded
from fedaggregator.engine.engine import Engine
from fedaggregator.engine.intake import Intake
from fedaggregator.engine.payloads import Payloads
from fedaggregator.errors import RequestRefusedError
from fedaggregator.limits import Limits
from fedaggregator.ports import Attester, Delivery, Holder
from fedaggregator.publisher import Publisher
from fedaggregator.requests.entrusted import EntrustedStates
from fedaggregator.requests.smallmodel import SmallModel
from fedapi.wire.attestation import Attestation, AttestationRequest
from fedapi.wire.download import Download
from fedapi.wire.entrusted import EntrustAnswer, EntrustRequest, Recalled, RecallRequest
from fedapi.wire.message import Message, ObjectRef
from fedapi.wire.orders import Delta, Encoded, EvaluateOrder, InlineUpload, Reference, TrainOrder
from fedapi.wire.plan import PlanRecord
from fedapi.wire.protocol import INLINE
from fedapi.wire.secureround import SecureAnswer, SecureOrder, SecureSaid
from fedapi.wire.site import (
    Assignment,
    EvaluationReport,
    FailureReport,
    NextRequest,
    Receipt,
    Refusal,
    UploadGrant,
    UploadRequest,
)
from fedapi.wire.update import HandedUpdate
from fedcore.rounds import admission, assignment, planning, secure, secureplan
from fedcore.rounds.compatibility import Speech
from fedcore.rounds.events import Restarted
from fedcore.rounds.sites import Site
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
        attester: Attester,
    ) -> None:
        self._engine, self._intake, self._publisher = engine, intake, publisher
        self._delivery, self._payloads, self._small, self._limits = delivery, payloads, small, limits
        self._entrusted, self._attester = entrusted, attester
        self._orders: dict[str, tuple[tuple[int, int], float]] = {}  # the last of each site, and when

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

    @property
    def selected(self) -> int:
        """How many sites are in the attempt under way."""
        attempt = self._engine.state.current
        return len(attempt.plan.selected) if attempt is not None else 0

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
            if assigned.train is not None:
                await self._ordered(client, assigned.train)
            if assigned.kind != "Wait" or self._engine.stopping or over:
                return assigned
            waits = partial(_waits, client=client, doing=asked.doing)
            await self._engine.polls.hold(client, waits, gone, until - loop.time())

    async def secure(self, client: str, said: SecureSaid, gone: "asyncio.Future[None]") -> SecureAnswer:
        """Takes what a site says in an exchange, and answers with its next step; held as `next` is."""
        await self._intake.said(client, said)
        loop = asyncio.get_running_loop()
        until, place = loop.time() + said.wait_s, (client, said.round, said.attempt)
        while True:
            state = self._engine.state
            over = loop.time() >= until or gone.done() or self._engine.stopping
            if over or not secure.waits(state, *place):
                return await self._with_sum(secure.answer(state, *place), state, place)
            await self._engine.polls.hold(client, lambda after: secure.waits(after, *place), gone, until - loop.time())

    async def _with_sum(self, answer: SecureAnswer, state: State, place: tuple[str, int, int]) -> SecureAnswer:
        """With the encrypted sum, where a site is to open it."""
        if (total := secure.offered(state, *place)) is None:
            return answer
        return answer.model_copy(update={"encrypted": await self._offer(total, place[0], inline=False)})

    async def _ordered(self, client: str, order: TrainOrder) -> None:
        """Notes whom an order was given, and when. Who asks for the same once more has lost what it trained."""
        now, which = self._engine.clock(), (order.round, order.attempt)
        before, self._orders[client] = self._orders.get(client), (which, now)
        if before is not None and before[0] == which:
            await self._engine.handle(Restarted(now, client, *which, now - before[1]))

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

    async def attest(self, client: str, asked: AttestationRequest) -> Attestation:
        """Gives evidence of where this process runs."""
        evidence = await self._told(client, self._attester.attest(asked))
        recorded.shown(self._engine.ledger, client, asked.nonce, evidence)
        return evidence

    async def _told(self, client: str, answer: Awaitable[_M]) -> _M:
        """What is refused of a site's state, or of evidence, is no failure of the site."""
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
        site = state.site(client)
        last = site.committed if asked.protocol > 1 else None
        kind = assignment.kind(state, client, asked.doing)
        return Assignment(
            kind=kind,
            train=await self._train(state, client, inline) if kind == "Train" else None,
            evaluate=await self._evaluate(state, client, inline) if kind == "Evaluate" else None,
            committed=(last.round, last.attempt) if last else None,
            committed_sha256=last.sha256 if last else None,
            accepted=_uncommitted(site) if asked.protocol > 1 else None,
            taken_back=asked.protocol > 1 and last is None and site.part.accepted > 0,
        )

    async def _train(self, state: State, client: str, inline: bool) -> TrainOrder | None:
        attempt = state.current
        if attempt is None:
            return None
        plan = attempt.plan
        return TrainOrder(
            round=plan.round,
            attempt=plan.attempt,
            model=await self._offer(plan.reference or plan.fetched, client, inline),
            encoded=_encoded(plan),
            reference=await self._reference(plan, client, inline),
            evaluate=plan.evaluate_base,
            deadline=attempt.deadline_at,
            seed=state.config.seed,
            training=plan.training_of(client),
            inline=self._inline_upload(state, client, plan) if inline else None,
            encryption=self._payloads.encrypt(plan.encryption) if plan.encryption else None,
            compression=plan.compression,
            site_noise=plan.site_noise,
            hub_state=await self._hub_state(state, client, plan),
            initial=await self._initial(plan.initial, client),
            secure=_secure(plan),
        )

    async def _reference(self, plan: PlanRecord, client: str, inline: bool) -> Reference | None:
        """That the next model may come as a delta to this one, and the delta to the one before: a site knows whether it has that."""
        if plan.reference is None:
            return None
        delta, made = None, plan.broadcast
        if made is not None and made.of is not None:
            file = await self._offer(made.object, client, inline)
            delta = Delta(of_sha256=made.of.sha256, encoding=made.encoding, file=file)
        return Reference(base_sha256=plan.base.sha256, delta=delta)

    async def _hub_state(self, state: State, client: str, plan: PlanRecord) -> Download | None:
        """What the strategy keeps, for a training that needs it; nothing is kept before the first commit with updates."""
        needed = plan.training.method is not None and plan.training.method.control_variates is not None
        kept = state.tip.hub_state if needed and state.tip is not None else None
        return None if kept is None else await self._offer(kept, client, inline=False)

    async def _evaluate(self, state: State, client: str, inline: bool) -> EvaluateOrder | None:
        commit = assignment.evaluated(state, client)
        if commit is None:
            return None
        model = await self._offer(commit.model, client, inline)
        training, initial = state.training_of(client), await self._initial(commit.initial, client)
        return EvaluateOrder(round=commit.round, model=model, training=training, initial=initial)

    async def _initial(self, model: ObjectRef | None, client: str) -> Download | None:
        """The file with the tensors that do not travel, which a site fetches once."""
        return None if model is None else await self._offer(model, client, inline=False)

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


def _waits(state: State, *, client: str, doing: tuple[int, int] | None) -> bool:
    """Whether there is nothing to do for a site."""
    return assignment.kind(state, client, doing) == "Wait"


def _uncommitted(site: Site) -> tuple[int, int] | None:
    """The order that a site's last accepted update answers, where that is in no commit."""
    last = site.committed
    return site.sent if last is None or site.sent != (last.round, last.attempt) else None


def _secure(plan: PlanRecord) -> SecureOrder | None:
    """How updates are summed, under masks or encrypted."""
    if plan.secure is None:
        return None
    return SecureOrder(
        terms=secureplan.terms(plan, plan.secure),
        overflow=plan.secure.overflow,
        tensors=plan.secure.tensors,
        privacy=plan.privacy,
    )


def _ordered(state: State) -> ObjectRef | None:
    """The model that orders are about."""
    if state.current is not None:
        return state.current.plan.fetched
    return state.tip.model if state.tip is not None else None


def _encoded(plan: PlanRecord) -> Encoded | None:
    """How a plan's model is to be read, where it is not as it is."""
    if plan.broadcast is None or plan.reference is not None:
        return None
    return Encoded(encoding=plan.broadcast.encoding, base_sha256=plan.base.sha256)
