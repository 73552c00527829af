"""When an attempt is over, and what becomes of it: fold, or try again, or give up. Pure; called by machine and recovery."""

from dataclasses import replace
from typing import Literal

from fedapi.wire.store import CloseRecord, FailureRecord
from fedcore.rounds.effects import Effect, Fold, Term, WriteClose, WriteFailure
from fedcore.rounds.state import Attempt, End, Phase, State

Verdict = Literal["Open", "Fold", "Fail"]
QUORUM_NOT_REACHED, MODEL_NOT_FINITE = "QuorumNotReached", "ModelNotFinite"  # why attempts fail


def verdict(attempt: Attempt, now: float) -> Verdict:
    """Whether the attempt is over. Quorum reached is never undone; without it only time or despair ends it."""
    reached = len(attempt.accepted) >= attempt.quorum
    over = not attempt.pending or now >= attempt.deadline_at
    if reached:
        return "Fold" if over or _grace_over(attempt, now) else "Open"
    hopeless = len(attempt.accepted) + len(attempt.pending) < attempt.quorum
    return "Fail" if over or hopeless else "Open"


def ends_at(attempt: Attempt) -> float:
    """The time at which `verdict` can change by itself."""
    if attempt.quorum_at is None or attempt.grace_s is None:
        return attempt.deadline_at
    return min(attempt.deadline_at, attempt.quorum_at + attempt.grace_s)


def delayed(state: State, seconds: float) -> State:
    """The state whose deadlines are so much later: the hub's own trouble is nobody's lateness."""
    if not seconds:
        return state
    attempt, last = state.current, state.closing
    if attempt is not None:
        quorum_at = attempt.quorum_at + seconds if attempt.quorum_at is not None else None
        attempt = replace(attempt, deadline_at=attempt.deadline_at + seconds, quorum_at=quorum_at)
    return replace(state, current=attempt, closing=replace(last, until=last.until + seconds) if last else None)


def closed(state: State, now: float) -> tuple[State, tuple[Effect, ...]]:
    """The state after the attempt under way, when it is over."""
    attempt = state.current
    if state.phase is not Phase.COLLECTING or attempt is None:
        return state, ()
    match verdict(attempt, now):
        case "Fold":
            return _decided(state, attempt, now)
        case "Fail":
            return failed(state, attempt, QUORUM_NOT_REACHED, _shortfall(attempt, now), now)
    return state, ()


def after_closing(state: State, attempt: Attempt) -> tuple[State, tuple[Effect, ...]]:
    """What follows once it is decided, durably, whose updates count: now, and after a restart. It is the fold.

    A strategy whose updates must be opened first (masks of those who left) has its phase here, before the fold.
    """
    return replace(state, phase=Phase.FOLDING, current=attempt), (_fold(state, attempt),)


def _fold(state: State, attempt: Attempt) -> Fold:
    """The fold of a closed attempt, as it was planned."""
    plan, manifests = attempt.plan, (attempt.accepted[client] for client in attempt.closed or ())
    terms = tuple(Term(m.client, m.payloads, m.samples, m.steps) for m in manifests)
    hub_state = state.tip.hub_state if state.tip else None
    return Fold(plan.round, plan.attempt, plan.base, plan.strategy, terms, hub_state)


def _grace_over(attempt: Attempt, now: float) -> bool:
    return attempt.quorum_at is not None and attempt.grace_s is not None and now >= attempt.quorum_at + attempt.grace_s


def _decided(state: State, attempt: Attempt, now: float) -> tuple[State, tuple[Effect, ...]]:
    names = tuple(client for client in attempt.plan.selected if client in attempt.accepted)
    state, effects = after_closing(state, replace(attempt, closed=names))
    if names != attempt.plan.selected:
        reason = "Deadline" if now >= attempt.deadline_at else "Quorum"
        plan = attempt.plan
        close = CloseRecord(
            job_uid=plan.job_uid, round=plan.round, attempt=plan.attempt, accepted=names, reason=reason, at=now
        )
        effects = (WriteClose(close), *effects)
    return state, effects


def failed(state: State, attempt: Attempt, reason: str, message: str, now: float) -> tuple[State, tuple[Effect, ...]]:
    """The state after an attempt that comes to nothing: the round is planned afresh, or the job is given up."""
    plan = attempt.plan
    failure = FailureRecord(
        job_uid=plan.job_uid, round=plan.round, attempt=plan.attempt, reason=reason, message=message[:900], at=now
    )
    state = replace(state, phase=Phase.WAITING, current=None, attempt=plan.attempt + 1)
    return out_of_attempts(state, failure, now), (WriteFailure(failure),)


def fold_failed(state: State, reason: str, message: str, now: float) -> tuple[State, tuple[Effect, ...]]:
    """The state after a fold whose result cannot be committed; the model before it stays."""
    attempt = state.current
    if state.phase is not Phase.FOLDING or attempt is None:
        return state, ()
    text = f"{reason}: {message}"[:1024]
    state = state.with_sites({client: replace(state.site(client), message=text) for client in attempt.closed or ()})
    return failed(state, attempt, reason, message, now)


def out_of_attempts(state: State, failure: FailureRecord, now: float) -> State:
    """The state with an end, when more attempts failed than round.maxFailures allows."""
    if state.attempt - 1 <= state.config.max_failures:
        return state
    text = f"{failure.message}; that was attempt {state.attempt - 1}, round.maxFailures is {state.config.max_failures}"
    return replace(state, end=End("Failed", failure.reason, text[:1024], now))


def _shortfall(attempt: Attempt, now: float) -> str:
    plan = attempt.plan
    late = now >= attempt.deadline_at
    how = "had" if late else "was closed early, because quorum was out of reach: it had"
    unfinished = "no update before the deadline" if late else "was not waited for"
    counts = f"{len(attempt.accepted)} of {len(plan.selected)} updates, {attempt.quorum} were needed"
    text = f"round {plan.round} {how} {counts}"
    troubles = [f"{client}: {why}" for client, why in sorted(attempt.failed.items())]
    troubles += [f"{client}: {unfinished}" for client in sorted(attempt.pending)]
    return f"{text} ({'; '.join(troubles)})"[:900] if troubles else text
