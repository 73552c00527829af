"""An attempt of whose updates the sum alone is seen: what sites say, and when a step is over. Pure; called by machine.

Sites train first. Who advertises in time, by quorum, grace and deadline as in every round, is a participant; from then on each
step waits for `exchangeTimeout` at most, goes on with those that are there, and fails the attempt where these are too few. A step is
closed durably before anybody hears of it; what is said in an open one is asked again after a restart.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from fedapi.wire.message import ObjectRef, Sha256
from fedapi.wire.secureround import SecureAnswer, SecureSaid, Step, StepRecord, SummedGroup
from fedapi.wire.site import Refusal
from fedapi.wire.store import CloseRecord
from fedapi.wire.update import UpdateManifest
from fedcore.anomalies.record import Judged
from fedcore.rounds import claims, closing, encryption
from fedcore.rounds.attempt import Attempt
from fedcore.rounds.effects import AddUp, Effect, WriteClose, WriteStep
from fedcore.rounds.encryption import EncryptedExchange
from fedcore.rounds.events import AddedUp, Said
from fedcore.rounds.exchange import Exchange, core, without
from fedcore.rounds.state import Phase, State
from fedcore.secagg.errors import AttemptFailedError, RefusedError
from fedcore.secagg.grouping import Group

_OPEN = (Phase.COLLECTING, Phase.OPENING)
_OVER = SecureAnswer(step="Over")
CLOSE_REASONS = frozenset({"Masked", "ExchangeTimeout"})  # of the close that names the survivors
GROUP_FELL = "too few sites of its group are left to hide in"
Change = tuple[State, tuple[Effect, ...]]


def said(state: State, client: str, what: SecureSaid) -> Exchange | Refusal | None:
    """The exchange with what a site says in it, or why that is not taken; None: it changes nothing, or comes too late."""
    attempt, says = _open(state, client, what.round, what.attempt), what.says
    if attempt is None or attempt.secure is None or says is None or attempt.secure.told(client) == "Over":
        return None
    if says.site != client:
        return Refusal(code="Unauthorized", message=f"site {client!r} cannot speak for site {says.site!r}")
    if what.samples is not None and (excess := claims.excessive(attempt.max_samples, what.samples)):
        return excess
    try:
        return attempt.secure.heard(what)
    except RefusedError as error:
        return Refusal(
            code="Malformed", message=f"the sum {attempt.secure.named}, step {attempt.secure.step}: {error}"[:900]
        )


def answer(state: State, client: str, round_: int, attempt: int) -> SecureAnswer:
    """What a site is to do next in an attempt, and what it needs for it."""
    found = _open(state, client, round_, attempt)
    return found.secure.answer(client) if found is not None and found.secure is not None else _OVER


def waits(state: State, client: str, round_: int, attempt: int) -> bool:
    """Whether there is nothing to answer yet."""
    found = _open(state, client, round_, attempt)
    return found is not None and found.secure is not None and found.secure.told(client) == "Wait"


def misplaced(attempt: Attempt, client: str) -> Refusal | None:
    """Why an update that is to be summed is not awaited from a site now."""
    exchange = attempt.secure
    if exchange is None or (exchange.step == "Mask" and client in exchange.asked and client not in attempt.failed):
        return None
    text = f"round {attempt.plan.round} sums updates {exchange.named}, and site {client!r} is told {_told(attempt, client)}"
    return Refusal(code="NotSelected", message=f"{text}: hand in the update when it is told Mask")


def unfit(attempt: Attempt, manifest: UpdateManifest) -> Refusal | None:
    """What is wrong with an accepted update's manifest, as far as its sum goes."""
    exchange, secure = attempt.secure, attempt.plan.secure
    size = exchange.update_bytes(secure.items) if exchange and secure else 0
    if exchange is None or secure is None:
        spoilt = [name for name, payload in manifest.payloads.items() if payload.masked or payload.tag]
        text = f"payloads.{spoilt[0]} is masked or encrypted for a sum, and the round asks for none" if spoilt else ""
    elif not all(payload.masked for payload in manifest.payloads.values()):
        text = f"payloads.update.masked is false, and updates are summed {exchange.named}"
    elif any(payload.object.size != size for payload in manifest.payloads.values()):
        text = f"payloads.update.object.size is not {size}, of {secure.items} values {exchange.named}"
    elif wrong := next(filter(None, map(exchange.unfit, manifest.payloads.values())), ""):
        text = f"payloads.update.{wrong}"
    elif secure.overflow == "Fail" and any(payload.clipped for payload in manifest.payloads.values()):
        text = "payloads.update.clipped is over 0, and overflow is Fail"
    elif manifest.samples != (announced := exchange.samples.get(manifest.client)):
        text = f"samples {manifest.samples} are not the {announced} that were announced with the advertisement"
    else:
        text = ""
    return Refusal(code="Malformed", message=f"{text}: do as the order says") if text else None


def taken(state: State, event: Said) -> State:
    """The state with what a site said."""
    exchange, attempt = said(state, event.client, event.said), state.current
    if attempt is None or not isinstance(exchange, Exchange):
        return state
    attempt = replace(attempt, secure=exchange)
    if exchange.step == "Advertise" and attempt.quorum_at is None and attempt.enough(attempt.here):
        attempt = replace(attempt, quorum_at=event.now)
    return replace(state, current=attempt)


def masked(attempt: Attempt, manifest: UpdateManifest) -> Attempt:
    """The attempt in which an update is there."""
    return replace(attempt, secure=attempt.secure.handed_in(manifest)) if attempt.secure else attempt


def advanced(state: State, now: float) -> Change:
    """The state after the step under way, when that is over."""
    attempt = state.current
    if attempt is None or attempt.secure is None or attempt.secure.is_adding:
        return state, ()
    if attempt.secure.step == "Advertise":
        match closing.verdict(attempt, now):
            case "Open":
                return state, ()
            case "Fail":
                text = closing.shortfall(attempt, now)
                return closing.failed(state, attempt, closing.QUORUM_NOT_REACHED, text, now)
    elif _awaited(attempt) and ((until := ends_at(attempt)) is None or now < until):
        return state, ()
    try:
        return _CLOSE[attempt.secure.step](state, attempt, attempt.secure, now)
    except AttemptFailedError as error:
        return failed(state, attempt, str(error), now)


def failed(state: State, attempt: Attempt, why: str, now: float) -> Change:
    """The state after an attempt in which no sum was agreed on: the next one has new keys."""
    step = attempt.secure.step if attempt.secure else ""
    attempt = _without_late(state, attempt, now)
    text = f"round {attempt.plan.round} gave no sum: step {step}: {why}"
    return closing.failed(
        state,
        attempt,
        closing.SECURE_AGGREGATION_FAILED,
        closing.with_troubles(text, dict(sorted(attempt.failed.items()))),
        now,
    )


def added(state: State, attempt: Attempt, event: AddedUp) -> State:
    """The state in which sites open the sum of their encrypted updates, which is there."""
    exchange = attempt.secure
    if exchange is None or not exchange.is_adding:
        return state
    return replace(state, current=entered(attempt, encryption.with_sum(exchange, event.total), event.now))


def offered(state: State, client: str, round_: int, attempt: int) -> ObjectRef | None:
    """The sum of encrypted updates, where a site is to open it."""
    found = _open(state, client, round_, attempt)
    exchange = found.secure if found is not None else None
    if not isinstance(exchange, EncryptedExchange) or exchange.told(client) != "Open":
        return None
    return exchange.total


def reads(state: State, client: str, round_: int, attempt: int) -> bool:
    """Whether a site is to say what it reads in an encrypted sum: also while a restarted hub adds up anew what it has read already."""
    found = _open(state, client, round_, attempt)
    exchange = found.secure if found is not None else None
    return isinstance(exchange, EncryptedExchange) and exchange.step == "Open" and exchange.told(client) != "Over"


def numbers(state: State, client: str, round_: int, attempt: int, sha256: Sha256) -> ObjectRef | None:
    """Where a site puts what it reads; None: it is not asked."""
    secure = state.current.plan.secure if state.current else None
    if secure is None or not reads(state, client, round_, attempt):
        return None
    key = state.layout.update(client, round_, sha256)
    return ObjectRef(key=key, sha256=sha256, size=encryption.NUMBER_BYTES * secure.items)


def ends_at(attempt: Attempt) -> float | None:
    """When time alone ends the step; None while the hub adds up."""
    if attempt.secure is not None and attempt.secure.is_adding:
        return None
    until = attempt.secure.until if attempt.secure else None
    return closing.ends_at(attempt) if until is None else until


def entered(attempt: Attempt, exchange: Exchange, now: float) -> Attempt:
    """The attempt at the beginning of a step."""
    secure = attempt.plan.secure
    timed = exchange.step != "Advertise" and not exchange.is_adding
    until = now + secure.exchange_timeout_s if secure and timed else None
    return replace(attempt, secure=replace(exchange, until=until))


def _close_advertising(state: State, attempt: Attempt, exchange: Exchange, now: float) -> Change:
    hub = exchange.hub
    hub = hub.model_copy(update={"advertisements": without(hub.advertisements, attempt.failed)})
    samples = {client: exchange.samples[client] for client in sorted(hub.advertisements)}
    whole = None if attempt.plan.privacy else max(1, *samples.values())
    hub, participants = core().participants(hub, whole)
    record = _record(attempt, "Advertise", participants=participants, samples=samples)
    return _next(state, attempt, replace(exchange, hub=hub, samples=samples), record, now)


def _close_sharing(state: State, attempt: Attempt, exchange: Exchange, now: float) -> Change:
    exchange, said = exchange.closed_sharing(attempt.failed)
    return _next(state, attempt, exchange, _record(attempt, "Share", **said), now)


def _close_masking(state: State, attempt: Attempt, exchange: Exchange, now: float) -> Change:
    hub, found = core().survivors(exchange.hub)
    plan, late = attempt.plan, _awaited(attempt)
    state, _ = _next(state, attempt, replace(exchange, hub=hub), None, now)
    closed = tuple(client for client in plan.selected if client in found.survivors)
    attempt = replace(state.current or attempt, closed=closed)
    close = CloseRecord(
        job_uid=plan.job_uid,
        round=plan.round,
        attempt=plan.attempt,
        accepted=closed,
        reason="ExchangeTimeout" if late else "Masked",
        at=now,
        lost_s=attempt.lost_s,
    )
    return replace(state, phase=Phase.OPENING, current=attempt), (WriteClose(close),)


def _close_consenting(state: State, attempt: Attempt, exchange: Exchange, now: float) -> Change:
    hub, asked = core().request(exchange.hub)
    record = _record(attempt, "Consent", consents=asked.consents)
    state, effects = _next(state, attempt, replace(exchange, hub=hub), record, now)
    attempt = narrowed(state.current or attempt, asked.seeds_of)
    return replace(state, current=attempt), (*effects, *adding(state, attempt))


def adding(state: State, attempt: Attempt) -> tuple[Effect, ...]:
    """What makes the sum of encrypted updates, where that is due."""
    is_due = attempt.secure is not None and attempt.secure.is_adding
    return (AddUp(closing.fold(state, attempt)),) if is_due else ()


def _close_opening(state: State, attempt: Attempt, exchange: Exchange, _: float) -> Change:
    record = _record(attempt, "Open", **exchange.closed_opening())
    state, effects = closing.after_closing(state, narrowed(attempt, exchange.opened()))
    return state, (WriteStep(record), *effects)


def narrowed(attempt: Attempt, counted: Collection[str]) -> Attempt:
    """The closed attempt, without updates whose group has fallen since."""
    return replace(attempt, closed=tuple(client for client in attempt.closed or () if client in counted))


def groups(attempt: Attempt, judged: Judged) -> tuple[SummedGroup, ...]:
    """Whose means are in the model of a folded attempt; none where all updates are in one sum."""
    exchange = attempt.secure
    if exchange is None or exchange.hub.terms.groups is None:
        return ()
    counted = frozenset(attempt.closed or ())
    return tuple(
        SummedGroup(number=number, sites=sites, norm=judged.norm_of(Group(number, ()).name))
        for number, sites in exchange.sums().items()
        if counted.issuperset(sites)
    )


_CLOSE: Mapping[Step, Callable[[State, Attempt, Exchange, float], Change]] = {
    "Advertise": _close_advertising,
    "Share": _close_sharing,
    "Mask": _close_masking,
    "Consent": _close_consenting,
    "Open": _close_opening,
}


def _next(state: State, attempt: Attempt, exchange: Exchange, record: StepRecord | None, now: float) -> Change:
    """The step after one that is closed. Who did nothing in that one has no part in the attempt any more."""
    attempt = _without_late(state, attempt, now)
    before = attempt.secure.asked if attempt.secure else ()
    gone = [client for client in before if client not in attempt.failed and exchange.told(client) == "Over"]
    if exchange.step != "Open":  # who has not consented opens nothing, and counts all the same
        attempt = closing.without(state, attempt, dict.fromkeys(sorted(gone), GROUP_FELL), now)
    return replace(state, current=entered(attempt, exchange, now)), (WriteStep(record),) if record else ()


def _without_late(state: State, attempt: Attempt, now: float) -> Attempt:
    return closing.without(state, attempt, dict.fromkeys(_awaited(attempt), closing.LATE), now)


def _awaited(attempt: Attempt) -> frozenset[str]:
    """Sites that have not done their part of the step, and may."""
    exchange = attempt.secure
    return frozenset(exchange.asked).difference(exchange.done, attempt.failed) if exchange else frozenset()


def _open(state: State, client: str, round_: int, attempt: int) -> Attempt | None:
    """The attempt under way, if it is that one, and the site has a part in it."""
    found = state.current if state.phase in _OPEN else None
    if found is None or (found.plan.round, found.plan.attempt) != (round_, attempt) or client in found.failed:
        return None
    return found if found.selected(client) else None


def _told(attempt: Attempt, client: str) -> str:
    return attempt.secure.told(client) if attempt.secure and client not in attempt.failed else "Over"


def _record(attempt: Attempt, step: Step, **said: Any) -> StepRecord:
    plan = attempt.plan
    return StepRecord(job_uid=plan.job_uid, round=plan.round, attempt=plan.attempt, step=step, **said)
