"""`step(state, event) -> (state, effects)`: the whole round logic (design: "A round"). Pure.

Called by fedaggregator.engine, which makes the effects durable in their order before anybody sees the new state.
Each event is first taken into the state, then whatever has become due happens: close, end, evaluate, plan.
"""

from dataclasses import replace
from typing import assert_never

from fedapi.printable import visible
from fedapi.wire.site import UpdateManifest
from fedcore.rounds import claims, closing, committing, evaluation, planning, reopening, rollback
from fedcore.rounds.effects import Effect, Finish, WriteEvaluation
from fedcore.rounds.events import (
    Accepted,
    Configured,
    Evaluated,
    Event,
    Folded,
    FoldFailed,
    Heard,
    InitialModelFound,
    Refused,
    RoundFound,
    RoundLost,
    SiteFailed,
    Ticked,
    UpdatesDamaged,
)
from fedcore.rounds.state import Phase, State

Step = tuple[State, tuple[Effect, ...]]
_LONGEST = 1024  # characters of a text in the status


def step(state: State, event: Event) -> Step:
    """The next state, and what must become durable before it is shown."""
    state, effects = _taken(state, event)
    state, more = _due(state, event.now)
    return state, (*effects, *more)


def wakes_at(state: State) -> float | None:
    """When time alone can change something."""
    if state.phase is Phase.COLLECTING and state.current is not None:
        return closing.ends_at(state.current)
    if state.phase is Phase.EVALUATING and state.closing is not None:
        return state.closing.until
    return None


def _taken(state: State, event: Event) -> Step:
    effects: tuple[Effect, ...] = ()
    match event:
        case Ticked():
            pass
        case Configured():
            state = replace(state, config=event.config)
        case InitialModelFound():
            state, effects = committing.initial(state, event.model, event.now)
        case Heard():
            state = _heard(state, event)
        case Accepted():
            state = _accepted(state, event.manifest, event.now)
        case Evaluated():
            state = _evaluated(state, event)
        case SiteFailed():
            state = _site_failed(state, event)
        case Refused():
            state = _troubled(state, event.client, _told(f"{event.reason}: {event.message}"))
        case Folded() | FoldFailed() | UpdatesDamaged() | RoundFound() | RoundLost():
            state, effects = _answered(state, event)
        case _:
            assert_never(event)
    return state, effects


def _due(state: State, now: float) -> Step:
    """What must happen now: phase after phase, until nothing changes."""
    effects: tuple[Effect, ...] = ()
    while True:
        following, more = _next(state, now)
        effects = (*effects, *more)
        if following is state:
            return state, effects
        state = following


def _next(state: State, now: float) -> Step:
    going_back = rollback.due(state, now)
    if going_back[0] is not state:
        return going_back
    match state.phase:
        case Phase.COLLECTING:
            return closing.closed(_without_lost(state), now)
        case Phase.WAITING:
            return _finished(state) if state.end else planning.planned(committing.after_commit(state, now), now)
        case Phase.EVALUATING:
            return _evaluation_closed(state, now)
        case Phase.FOLDING | Phase.FINISHED:
            return state, ()
    assert_never(state.phase)


def _without_lost(state: State) -> State:
    """The state in which nobody waits for lost sites; found anew whatever happens, a restart included."""
    attempt = state.current
    lost = state.roster.lost(attempt.pending) if attempt else {}
    if attempt is None or not lost:
        return state
    state = replace(state, current=replace(attempt, failed={**attempt.failed, **lost}))
    for client, reason in lost.items():
        state = _troubled(state, client, state.site(client).message or reason)
    return state


def _heard(state: State, event: Heard) -> State:
    sites = {client: replace(state.site(client), heard_at=event.now) for client in event.clients}
    said = {client: replace(sites[client], speech=speech) for client, speech in event.speeches.items()}
    state = state.with_sites({**sites, **said})
    for client in said:
        state = _without_misfit(state, client)
    return state


def _without_misfit(state: State, client: str) -> State:
    """The state in which nobody waits for a site that cannot do, or not understand, what it is wanted for."""
    why, attempt = planning.misfit(state, client), state.current
    if why and state.phase is Phase.EVALUATING:
        return replace(state, excused=state.excused | {client})
    if not why or state.phase is not Phase.COLLECTING or attempt is None or client not in attempt.pending:
        return state
    return _troubled(replace(state, current=replace(attempt, failed={**attempt.failed, client: why})), client, why)


def _accepted(state: State, manifest: UpdateManifest, now: float) -> State:
    attempt = state.current
    if state.phase is not Phase.COLLECTING or attempt is None:
        return state
    plan = attempt.plan
    if (manifest.round, manifest.attempt) != (plan.round, plan.attempt) or not attempt.selected(manifest.client):
        return state
    if manifest.client in attempt.accepted:
        return state
    accepted = {**attempt.accepted, manifest.client: manifest}
    failed = {client: why for client, why in attempt.failed.items() if client != manifest.client}
    reached = attempt.quorum_at is None and len(accepted) >= attempt.quorum
    attempt = replace(attempt, accepted=accepted, failed=failed, quorum_at=now if reached else attempt.quorum_at)
    return replace(state, current=attempt).with_site(manifest.client, claims.taken(state, manifest))


def _evaluated(state: State, event: Evaluated) -> State:
    report = event.report
    if state.tip is None or state.end is not None or state.phase is Phase.FINISHED:
        return state
    if report.round != state.tip.round or report.client in state.reports:
        return state  # of whom it is was decided by admission, and is asked again when it is counted
    return replace(state, reports={**state.reports, report.client: report})


def _site_failed(state: State, event: SiteFailed) -> State:
    text = _told(f"{event.reason}: {event.message}" if event.message else event.reason)
    if state.phase is Phase.EVALUATING:
        return replace(_troubled(state, event.client, text), excused=state.excused | {event.client})
    attempt = state.current
    if state.phase is not Phase.COLLECTING or attempt is None:
        return state
    plan = attempt.plan
    current = (event.round, event.attempt) == (plan.round, plan.attempt)
    if not current or event.client not in attempt.pending:
        return state
    attempt = replace(attempt, failed={**attempt.failed, event.client: text})
    return _troubled(replace(state, current=attempt), event.client, text)


def _troubled(state: State, client: str, text: str) -> State:
    site = state.site(client)
    return state.with_site(
        client, replace(site, failures=site.failures + 1, message=text[:_LONGEST], failed_round=state.round)
    )


def _told(text: str) -> str:
    """Words of a site, as the status and records may hold them."""
    return visible(text)[:_LONGEST]


def _answered(state: State, event: Folded | FoldFailed | UpdatesDamaged | RoundFound | RoundLost) -> Step:
    """What became of an effect that takes long."""
    if isinstance(event, RoundFound | RoundLost):
        return rollback.answered(state, event), ()
    attempt = state.current
    if attempt is None or (event.round, event.attempt) != (attempt.plan.round, attempt.plan.attempt):
        return state, ()
    match event:
        case Folded():
            return committing.committed(state, event)
        case FoldFailed():
            return closing.fold_failed(state, event.reason, event.message, event.now)
        case UpdatesDamaged():
            return reopening.reopened(state, event.found, event.now)


def _evaluation_closed(state: State, now: float) -> Step:
    if state.closing is None or state.tip is None:
        return state, ()
    waiting = state.closing.expected - state.reports.keys() - state.excused
    if waiting & state.roster.eligible and now < state.closing.until:
        return state, ()
    measured = evaluation.final(state)
    effects: tuple[Effect, ...] = (WriteEvaluation(measured, state.tip.attempt),) if measured else ()
    scores = evaluation.scored(state.scores, measured)
    end = replace(state.closing.end, at=now)
    state, more = _finished(replace(state, scores=scores, end=end, closing=None))
    return state, (*effects, *more)


def _finished(state: State) -> Step:
    if state.end is None:
        return state, ()
    return replace(state, phase=Phase.FINISHED, current=None), (Finish(state.end),)
