"""The step function of asynchronous rounds (Nguyen et al. 2022, FedBuff): a round is a buffer of updates. Pure.

Chosen by modes.py. Events, effects, state and interpreter are those of synchronous rounds, and so is all that is not said here:
what becomes of an update, and of a round under way. What is accepted stays accepted, over failed attempts and restarts, until
it is in a model, no model comes of it, or a rollback makes it void. Which orders count is in window.py.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from fedapi.wire.commit import Buffered
from fedapi.wire.store import CloseRecord, FailureRecord
from fedapi.wire.update import UpdateManifest
from fedcore.rounds import (
    claims,
    closing,
    committing,
    effort,
    heldout,
    machine,
    planning,
    reopening,
    signatures,
    spentsites,
    window,
)
from fedcore.rounds.attempt import Attempt
from fedcore.rounds.effects import Effect, Forget, Withdraw, WriteClose, WriteFailure
from fedcore.rounds.events import Accepted, Event, Folded, FoldFailed, SiteFailed, UpdatesDamaged
from fedcore.rounds.machine import Step
from fedcore.rounds.state import Phase, State


def step(state: State, event: Event) -> Step:
    """The next state, and what must become durable before it is shown."""
    state, effects = _taken(state, event)
    state, more = machine.due(state, event.now, _following)
    return state, (*effects, *more)


def _taken(state: State, event: Event) -> Step:
    match event:
        case Accepted():
            return _accepted(signatures.noted(state, event), event.manifest, event.now), ()
        case SiteFailed() if state.phase is not Phase.EVALUATING and not heldout.is_held_out(state, event.client):
            return _site_failed(state, event), ()
        case Folded() | FoldFailed() | UpdatesDamaged():
            return _answered(state, event)
    return machine.taken(state, event)


def _following(state: State, now: float) -> Step:
    asked_for = machine.by_request(state, now)
    if asked_for[0] is not state:
        return asked_for
    match state.phase:
        case Phase.COLLECTING:
            return _closed(machine.without_lost(state, now), now)
        case Phase.WAITING if state.end is None:
            return _planned(committing.after_commit(state, now), now)
    return machine.following(state, now)


def _accepted(state: State, manifest: UpdateManifest, now: float) -> State:
    """The state with one more update: in the round under way, or, while one is folded or none can begin, in the next."""
    client, attempt = manifest.client, state.current
    if client in state.accepted or window.refusal(state, client, manifest.round, manifest.attempt):
        return state
    site = replace(claims.taken(state, manifest), last_round=window.into(state))
    state = state.with_site(client, site)
    if attempt is None:
        return replace(state, carried={**state.carried, client: manifest})
    failed = {name: why for name, why in attempt.failed.items() if name != client}
    attempt = replace(attempt, failed=failed)
    return replace(state, current=_filled(attempt, {**attempt.accepted, client: manifest}, now))


def _filled(attempt: Attempt, accepted: Mapping[str, UpdateManifest], now: float) -> Attempt:
    """The attempt with these updates."""
    reached = attempt.quorum_at is None and len(accepted) >= attempt.quorum
    return replace(attempt, accepted=accepted, quorum_at=now if reached else attempt.quorum_at)


def _site_failed(state: State, event: SiteFailed) -> State:
    """A site that failed has its next order with the next model, or with the next attempt."""
    attempt = state.current
    if attempt is None or state.phase is not Phase.COLLECTING or event.client not in attempt.pending:
        return state
    if window.refusal(state, event.client, event.round, event.attempt):
        return state
    text = machine.told(f"{event.reason}: {event.message}" if event.message else event.reason)
    attempt = closing.without(state, attempt, {event.client: text}, event.now)
    state = replace(state, current=attempt)
    if (event.round, event.attempt) == (
        attempt.plan.round,
        attempt.plan.attempt,
    ):  # of an older order others may have been asked
        state = spentsites.noted(state, attempt.plan, event.client, event.reason)
    return machine.troubled(state, event.client, text)


def _planned(state: State, now: float) -> Step:
    """The state with a new attempt, when one can begin: with what was accepted since the last was closed."""
    if state.phase is not Phase.WAITING:
        return state, ()
    after, effects = planning.planned(state, now)
    if after.current is None:
        return after, effects
    return replace(after, current=_filled(after.current, state.carried, now), carried={}), effects


def _closed(state: State, now: float) -> Step:
    attempt = state.current
    if attempt is None:
        return state, ()
    match closing.verdict(attempt, now):
        case "Fold":
            return _decided(state, attempt, now)
        case "Fail":
            return _failed(state, attempt, closing.QUORUM_NOT_REACHED, closing.shortfall(attempt, now), (), now)
    return state, ()


def _decided(state: State, attempt: Attempt, now: float) -> Step:
    """All that is accepted is folded, and which updates these are is always recorded: others may come meanwhile."""
    buffer, plan = _buffer(attempt.accepted.values()), attempt.plan
    close = CloseRecord(
        job_uid=plan.job_uid,
        round=plan.round,
        attempt=plan.attempt,
        accepted=tuple(each.client for each in buffer),
        reason=closing.why(attempt, now) if len(buffer) < window.asked(plan) else "Full",
        at=now,
        lost_s=attempt.lost_s,
        buffer=buffer,
    )
    state, effects = closing.after_closing(state, replace(attempt, closed=close.accepted))
    return state, (WriteClose(close), *effects)


def _buffer(manifests: Iterable[UpdateManifest]) -> tuple[Buffered, ...]:
    """Updates in the order in which they are folded, oldest orders first: within a buffer it is not that of their arrival."""
    named = (Buffered(client=m.client, round=m.round, attempt=m.attempt) for m in manifests)
    return tuple(sorted(named, key=lambda each: (each.round, each.client)))


def _failed(
    state: State, attempt: Attempt, reason: str, message: str, dropped: tuple[Buffered, ...], now: float
) -> Step:
    """The state after an attempt that comes to nothing. Its updates stay for the next, but those that are `dropped`."""
    plan, without = attempt.plan, {each.client: attempt.accepted[each.client] for each in dropped}
    failure = FailureRecord(
        job_uid=plan.job_uid,
        round=plan.round,
        attempt=plan.attempt,
        reason=closing.reason_of(state, attempt, reason),
        message=message[:900],
        at=now,
        missed=tuple(sorted(attempt.failed)),
        open_s=max(0.0, now - plan.planned_at),
        lost_s=attempt.lost_s + effort.trained_s(without, float("inf")),
        dropped=dropped,
    )
    left = {client: m for client, m in attempt.accepted.items() if client not in without}
    void = (*state.void, failure)
    state = replace(state, phase=Phase.WAITING, current=None, carried=left, attempt=plan.attempt + 1, void=void)
    effects: tuple[Effect, ...] = (WriteFailure(failure),)
    if dropped:
        keys = tuple(state.layout.manifest(d.client, d.round, d.attempt) for d in dropped)
        effects = (*effects, Forget(keys))
    return closing.out_of_attempts(state, failure, now), effects


def _answered(state: State, event: Folded | FoldFailed | UpdatesDamaged) -> Step:
    """What became of the fold."""
    attempt = state.current
    if attempt is None or state.phase is not Phase.FOLDING:
        return state, ()
    if (event.round, event.attempt) != (attempt.plan.round, attempt.plan.attempt):
        return state, ()
    match event:
        case Folded():
            return _committed(state, attempt, event)
        case FoldFailed():
            return _fold_failed(state, attempt, event)
        case UpdatesDamaged():
            return _reopened(state, attempt, event)


def _committed(state: State, attempt: Attempt, folded: Folded) -> Step:
    state, effects = committing.committed(state, folded)
    closed = attempt.closed or ()
    left = {client: m for client, m in attempt.accepted.items() if client not in closed}
    return replace(state, carried=left if state.phase is Phase.WAITING else {}), effects


def _fold_failed(state: State, attempt: Attempt, event: FoldFailed) -> Step:
    """No model came of the buffer: none of its updates counts any more, or the next attempt would fail for them, too."""
    text = f"{event.reason}: {event.message}"[:1024]
    closed = attempt.closed or ()
    state = state.with_sites({client: replace(state.site(client), message=text) for client in closed})
    dropped = _buffer(attempt.accepted[client] for client in closed)
    return _failed(state, attempt, event.reason, event.message, dropped, event.now)


def _reopened(state: State, attempt: Attempt, event: UpdatesDamaged) -> Step:
    """The sites of damaged updates are asked anew; as often as in synchronous rounds."""
    if attempt.reopened < state.config.max_failures:
        return reopening.reopened(state, event.found, event.now)
    damaged = reopening.damaged(attempt, event.found)
    state = reopening.told(state, damaged, event.found)
    text = f"accepted updates of round {attempt.plan.round} are damaged: {'; '.join(sorted(event.found.values()))}"
    withdraw = Withdraw(attempt.plan.round, attempt.plan.attempt, tuple(damaged.values()))
    attempt = replace(attempt, accepted={c: m for c, m in attempt.accepted.items() if c not in damaged})
    state, effects = _failed(state, attempt, reopening.UPDATE_DAMAGED, text, (), event.now)
    return state, (*effects, withdraw)
