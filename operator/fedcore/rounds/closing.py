"""When an attempt is over, and what becomes of it: fold, or try again, or give up. Pure; called by machine and recovery."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Literal

from fedapi.wire.plan import PlanRecord
from fedapi.wire.seeds import derived
from fedapi.wire.store import CloseRecord, FailureRecord
from fedapi.wire.update import UpdateManifest
from fedcore.anomalies.record import UNJUDGED, Judged
from fedcore.rounds import anomalies, budget, distributed, effort, spentsites, window
from fedcore.rounds.attempt import Attempt
from fedcore.rounds.effects import Effect, Fold, Origin, Term, WriteClose, WriteFailure
from fedcore.rounds.state import End, Phase, State

Verdict = Literal["Open", "Fold", "Fail"]
# Why attempts fail.
QUORUM_NOT_REACHED, MODEL_NOT_FINITE, TOO_FEW_UPDATES = "QuorumNotReached", "ModelNotFinite", "TooFewUpdates"
STRATEGY_FAILED = "StrategyFailed"
SECURE_AGGREGATION_FAILED = "SecureAggregationFailed"  # the sites did not agree on a sum, or it could not be opened
LATE = "it was too late"  # why a site has no part any more in an attempt that goes on


def verdict(attempt: Attempt, now: float) -> Verdict:
    """Whether all have trained that are waited for. Quorum reached is never undone; without it only time or despair ends it."""
    here = attempt.here
    reached = attempt.enough(here)
    if reached and len(here) >= attempt.wanted:
        return "Fold"
    over = not attempt.pending.difference(here) or now >= attempt.deadline_at
    if reached:
        return "Fold" if over or _grace_over(attempt, now) else "Open"
    hopeless = not attempt.enough(attempt.pending.union(here))
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
        if (exchange := attempt.secure) is not None and exchange.until is not None:
            attempt = replace(attempt, secure=replace(exchange, until=exchange.until + seconds))
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
            return failed(state, attempt, QUORUM_NOT_REACHED, shortfall(attempt, now), now)
    return state, ()


def without(state: State, attempt: Attempt, failed: Mapping[str, str], now: float) -> Attempt:
    """The attempt in which these sites, which it waited for, have failed, and why; what they have trained is lost."""
    lost_s = attempt.lost_s + _at_it_s(state, attempt, failed, now)
    return replace(attempt, failed={**attempt.failed, **failed}, lost_s=lost_s)


def after_closing(state: State, attempt: Attempt) -> tuple[State, tuple[Effect, ...]]:
    """What follows once it is decided, durably, whose updates count, and their sum is opened where it alone is seen: now, and after a restart."""
    return replace(state, phase=Phase.FOLDING, current=attempt), (fold(state, attempt),)


def fold(state: State, attempt: Attempt) -> Fold:
    """The fold of a closed attempt, as it was planned."""
    plan, manifests = attempt.plan, (attempt.accepted[client] for client in attempt.closed or ())
    terms = tuple(
        Term(m.client, m.payloads, m.samples, m.steps, _origin(m, plan), plan.training_of(m.client).model_width)
        for m in manifests
    )
    hub_state = state.tip.hub_state if state.tip else None
    seed = derived(state.config.seed, "aggregation", plan.round, plan.attempt)
    return Fold(
        round=plan.round,
        attempt=plan.attempt,
        base=plan.base,
        strategy=plan.strategy,
        terms=terms,
        hub_state=hub_state,
        training=plan.training,
        seed=seed,
        initial=plan.initial,
        judging=anomalies.judging(state, attempt),
        privacy=plan.privacy,
        secure=attempt.secure.hub if attempt.secure else None,
        tensors=plan.secure.tensors if plan.secure else None,
    )


def _origin(manifest: UpdateManifest, plan: PlanRecord) -> Origin | None:
    """The order that an update answers, where it is not that of the plan."""
    said = Origin(manifest.round, manifest.attempt, manifest.base_sha256)
    return None if said == Origin(plan.round, plan.attempt, plan.base.sha256) else said


def _grace_over(attempt: Attempt, now: float) -> bool:
    return attempt.quorum_at is not None and attempt.grace_s is not None and now >= attempt.quorum_at + attempt.grace_s


def _decided(state: State, attempt: Attempt, now: float) -> tuple[State, tuple[Effect, ...]]:
    names = tuple(client for client in attempt.plan.selected if client in attempt.accepted)
    lost_s = attempt.lost_s + _at_it_s(state, attempt, attempt.pending, now)
    state, effects = after_closing(state, replace(attempt, closed=names, lost_s=lost_s))
    if lost_s or names != attempt.plan.selected:
        plan = attempt.plan
        close = CloseRecord(
            job_uid=plan.job_uid,
            round=plan.round,
            attempt=plan.attempt,
            accepted=names,
            reason=why(attempt, now),
            at=now,
            lost_s=lost_s,
        )
        effects = (WriteClose(close), *effects)
    return state, effects


def why(attempt: Attempt, now: float) -> str:
    """Why it closes."""
    if now >= attempt.deadline_at:
        return "Deadline"
    return "Wanted" if len(attempt.accepted) >= attempt.wanted else "Quorum"


def _at_it_s(state: State, attempt: Attempt, clients: Iterable[str], now: float) -> float:
    """Seconds that these have trained for the attempt so far, as far as the hub knows: those that were heard since its plan."""
    planned_at = attempt.plan.planned_at
    at_it = (client for client in clients if (state.site(client).heard_at or 0.0) >= planned_at)
    return sum(max(0.0, now - attempt.anew.get(client, planned_at)) for client in at_it)


def failed(
    state: State, attempt: Attempt, reason: str, message: str, now: float, judged: Judged = UNJUDGED
) -> tuple[State, tuple[Effect, ...]]:
    """The state after an attempt that comes to nothing: the round is planned afresh, or the job is given up."""
    plan, open_s = attempt.plan, max(0.0, now - attempt.plan.planned_at)
    unfinished_s = _at_it_s(state, attempt, attempt.pending, now) if attempt.closed is None else 0.0
    failure = FailureRecord(
        job_uid=plan.job_uid,
        round=plan.round,
        attempt=plan.attempt,
        reason=reason_of(state, attempt, reason),
        message=message[:900],
        at=now,
        missed=tuple(client for client in plan.selected if client not in attempt.here or client in judged.excluded),
        open_s=open_s,
        lost_s=attempt.lost_s + unfinished_s + effort.trained_s(attempt.accepted, open_s),
        anomalies=judged.anomalies,
        privacy=distributed.of_failure(state, attempt),
        site_noise=plan.site_noise,
        maker=attempt.secure.maker if attempt.secure else None,
    )
    void = (*state.void, failure)
    state = replace(state, phase=Phase.WAITING, current=None, attempt=plan.attempt + 1, void=void)
    return out_of_attempts(state, failure, now), (WriteFailure(failure),)


def fold_failed(
    state: State, reason: str, message: str, now: float, judged: Judged = UNJUDGED
) -> tuple[State, tuple[Effect, ...]]:
    """The state after a fold whose result cannot be committed, or a sum that there is none; the model before it stays."""
    attempt = state.current
    if state.phase not in (Phase.OPENING, Phase.FOLDING) or attempt is None:
        return state, ()
    if judged.excluded:
        state = anomalies.told(state, judged, attempt.plan.round)
        return failed(state, attempt, reason, message, now, judged)
    text = f"{reason}: {message}"[:1024]
    state = state.with_sites({client: replace(state.site(client), message=text) for client in attempt.closed or ()})
    return failed(state, attempt, reason, message, now, judged)


def reason_of(state: State, attempt: Attempt, reason: str) -> str:
    """Why an attempt comes to nothing: not for the quorum alone, where sites have spent their privacy budget."""
    return budget.SPENT if reason == QUORUM_NOT_REACHED and spentsites.in_attempt(state, attempt) else reason


def out_of_attempts(state: State, failure: FailureRecord, now: float) -> State:
    """The state with an end, when more attempts failed than round.maxFailures allows; those that had to find spent sites do not count."""
    failures = state.attempt - 1 - sum(each.reason == budget.SPENT for each in state.void)
    if failures <= state.config.max_failures or failure.reason == budget.SPENT:
        return state
    text = f"{failure.message}; that was attempt {state.attempt - 1}, round.maxFailures is {state.config.max_failures}"
    return replace(state, end=End("Failed", failure.reason, text[:1024], now))


def shortfall(attempt: Attempt, now: float) -> str:
    """What an attempt lacked, and whose."""
    plan = attempt.plan
    late = now >= attempt.deadline_at
    how = "had" if late else "was closed early, because quorum was out of reach: it had"
    unfinished = "no update before the deadline" if late else "was not waited for"
    counts = f"{len(attempt.here)} of {window.asked(plan)} updates, {attempt.quorum} were needed"
    text = f"round {plan.round} {how} {counts}"
    if (root := plan.strategy.root) and root not in attempt.accepted:
        text = f"{text}, and the update of the root client {root!r} is needed"
    silent = sorted(attempt.pending.difference(attempt.here))
    return with_troubles(text, dict(sorted(attempt.failed.items())) | dict.fromkeys(silent, unfinished))


def with_troubles(text: str, found: Mapping[str, str]) -> str:
    """A text with what is wrong at sites."""
    troubles = "; ".join(f"{client}: {why}" for client, why in found.items())
    return f"{text} ({troubles})"[:900] if troubles else text
