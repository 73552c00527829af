"""`step(state, event) -> (state, effects)`: the whole round logic (design: "A round"). Pure.

Called by fedaggregator.engine, which makes the effects durable in their order before anybody sees the new state.
Each event is first taken into the state, then whatever has become due happens: close, end, evaluate, plan.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import assert_never

from fedapi.printable import visible
from fedapi.wire.job import JobConfig
from fedapi.wire.update import UpdateManifest
from fedcore.rounds import (
    broadcasting,
    claims,
    closing,
    committing,
    evaluateonly,
    evaluation,
    evaluation_requests,
    heldout,
    planning,
    reopening,
    rollback,
    secure,
    signatures,
    spentsites,
    undoing,
)
from fedcore.rounds.attempt import Attempt
from fedcore.rounds.effects import Effect, Finish, WriteEvaluation
from fedcore.rounds.events import (
    Accepted,
    AddedUp,
    BroadcastLost,
    Configured,
    Encoded,
    Evaluated,
    Event,
    Folded,
    FoldFailed,
    Heard,
    InitialModelFound,
    Measured,
    ModelFound,
    ModelLost,
    Refused,
    Restarted,
    RoundFound,
    RoundLost,
    Said,
    SiteEvaluated,
    SiteFailed,
    Ticked,
    UpdatesDamaged,
)
from fedcore.rounds.state import Measurement, Phase, State

Step = tuple[State, tuple[Effect, ...]]
_Found = Measured | Encoded | BroadcastLost | RoundFound | RoundLost | ModelFound | ModelLost
_TAKING = (Phase.COLLECTING, Phase.OPENING)  # in which sites have a part
_LONGEST = 1024  # characters of a text in the status


def step(state: State, event: Event) -> Step:
    """The next state, and what must become durable before it is shown."""
    state, effects = taken(state, event)
    state, more = due(state, event.now, following)
    return state, (*effects, *more)


def wakes_at(state: State) -> float | None:
    """When time alone can change something."""
    if state.phase in (Phase.COLLECTING, Phase.OPENING) and state.current is not None:
        return secure.ends_at(state.current)
    if state.phase is Phase.EVALUATING and state.closing is not None:
        return state.closing.until
    return state.skip.at if state.skip and state.phase is Phase.WAITING else None


def taken(state: State, event: Event) -> Step:
    """The state with that event in it."""
    effects: tuple[Effect, ...] = ()
    match event:
        case Ticked():
            pass
        case Configured():
            state = configured(state, event.config, event.now)
        case InitialModelFound():
            state, effects = committing.initial(state, event.model, event.now, event.partial)
        case Heard():
            state = _heard(state, event)
        case Accepted():
            state = _accepted(signatures.noted(state, event), event.manifest, event.now)
        case Said():
            state = secure.taken(state, event)
        case Evaluated() | SiteEvaluated():
            state = _evaluated(state, event)
        case SiteFailed() | Restarted() | Refused():
            state = _in_trouble(state, event)
        case (
            Folded()
            | AddedUp()
            | FoldFailed()
            | UpdatesDamaged()
            | Measured()
            | Encoded()
            | BroadcastLost()
            | RoundFound()
            | RoundLost()
            | ModelFound()
            | ModelLost()
        ):
            state, effects = _answered(state, event)
        case _:
            assert_never(event)
    return state, effects


def due(state: State, now: float, following: Callable[[State, float], Step]) -> Step:
    """What must happen now: phase after phase, until nothing changes."""
    effects: tuple[Effect, ...] = ()
    while True:
        after, more = following(state, now)
        effects = (*effects, *more)
        if after is state:
            return state, effects
        state = after


def following(state: State, now: float) -> Step:
    """The next thing that must happen; the same state when there is none."""
    asked_for = by_request(state, now)
    if asked_for[0] is not state:
        return asked_for
    going_back = undoing.due(state, now)
    if going_back[0] is not state or undoing.is_awaited(state):
        return going_back
    match state.phase:
        case Phase.COLLECTING | Phase.OPENING:
            state = without_lost(state, now)
            return secure.advanced(state, now) if _is_secure(state) else closing.closed(state, now)
        case Phase.WAITING:
            return _finished(state) if state.end else planning.planned(committing.after_commit(state, now), now)
        case Phase.EVALUATING:
            return _evaluation_closed(state, now)
        case Phase.FOLDING | Phase.FINISHED:
            return state, ()
    assert_never(state.phase)


def _is_secure(state: State) -> bool:
    return state.current is not None and state.current.secure is not None


def by_request(state: State, now: float) -> Step:
    """What the job's manifest asks for at once: to go back, or to evaluate an earlier round."""
    going_back = rollback.due(state, now)
    return (
        going_back
        if going_back[0] is not state
        else evaluation_requests.due(state, now, lambda: committing.kept_objects(state))
    )


def without_lost(state: State, now: float) -> State:
    """The state in which nobody waits for lost sites; found anew whatever happens, a restart included."""
    attempt = state.current
    lost = state.roster.lost(_waited_for(attempt)) if attempt else {}
    if attempt is None or not lost:
        return state
    state = replace(state, current=closing.without(state, attempt, lost, now))
    for client, reason in lost.items():
        state = troubled(state, client, state.site(client).message or reason)
    return state


def _waited_for(attempt: Attempt) -> frozenset[str]:
    """Sites whose part in it is not over."""
    if attempt.secure is None:
        return attempt.pending
    return frozenset(client for client in attempt.plan.selected if attempt.waits_for(client))


def configured(state: State, config: JobConfig, now: float) -> State:
    """The state with another configuration, in which nobody waits for sites that it bars: by a key that is revoked, for example."""
    state = replace(state, config=config)
    for client in state.sites:
        state = _without_misfit(state, client, now)
    return state


def _heard(state: State, event: Heard) -> State:
    if state.skip is not None and any(planning.returns(state, client, event.now) for client in event.clients):
        state = replace(state, skip=None)
    sites = {client: replace(state.site(client), heard_at=event.now) for client in event.clients}
    said = {client: replace(sites[client], speech=speech) for client, speech in event.speeches.items()}
    state = state.with_sites({**sites, **said})
    for client in said:
        state = _without_misfit(state, client, event.now)
    return state


def _without_misfit(state: State, client: str, now: float) -> State:
    """The state in which nobody waits for a site that cannot do, or not understand, what it is wanted for."""
    why, attempt = planning.misfit(state, client), state.current
    if why and state.phase is Phase.EVALUATING:
        return replace(state, excused=state.excused | {client})
    if not why or state.phase not in _TAKING or attempt is None or not attempt.waits_for(client):
        return state
    return troubled(replace(state, current=closing.without(state, attempt, {client: why}, now)), client, why)


def _accepted(state: State, manifest: UpdateManifest, now: float) -> State:
    attempt = state.current
    if state.phase is not Phase.COLLECTING or attempt is None:
        return state
    plan = attempt.plan
    if (manifest.round, manifest.attempt) != (plan.round, plan.attempt) or not attempt.selected(manifest.client):
        return state
    if manifest.client in attempt.accepted:
        return state
    attempt = secure.masked(attempt, manifest)
    accepted = {**attempt.accepted, manifest.client: manifest}
    failed = {client: why for client, why in attempt.failed.items() if client != manifest.client}
    reached = attempt.quorum_at is None and attempt.enough(accepted)
    attempt = replace(attempt, accepted=accepted, failed=failed, quorum_at=now if reached else attempt.quorum_at)
    return replace(state, current=attempt).with_site(manifest.client, claims.taken(state, manifest))


def _evaluated(state: State, event: Evaluated | SiteEvaluated) -> State:
    if isinstance(event, SiteEvaluated):
        return evaluation_requests.answered(heldout.evaluated(state, event.record), event.record)
    report = event.report
    if state.tip is None or state.end is not None or state.phase is Phase.FINISHED:
        return state
    if report.round != state.tip.round or report.client in state.reports:
        return state  # of whom it is was decided by admission, and is asked again when it is counted
    return replace(state, reports={**state.reports, report.client: report})


def _site_failed(state: State, event: SiteFailed) -> State:
    text = told(f"{event.reason}: {event.message}" if event.message else event.reason)
    state = evaluation_requests.failed(state, event.client, event.round, event.attempt)
    if state.phase is Phase.EVALUATING or heldout.is_held_out(state, event.client):
        return replace(troubled(state, event.client, text), excused=state.excused | {event.client})
    attempt = state.current
    if state.phase not in _TAKING or attempt is None:
        return state
    plan = attempt.plan
    current = (event.round, event.attempt) == (plan.round, plan.attempt)
    if not current or not attempt.waits_for(event.client):
        return state
    attempt = closing.without(state, attempt, {event.client: text}, event.now)
    state = spentsites.noted(replace(state, current=attempt), plan, event.client, event.reason)
    return troubled(state, event.client, text)


def _in_trouble(state: State, event: SiteFailed | Restarted | Refused) -> State:
    """What went wrong at a site."""
    match event:
        case SiteFailed():
            return _site_failed(state, event)
        case Restarted():
            return _restarted(state, event)
        case Refused():
            return troubled(state, event.client, told(f"{event.reason}: {event.message}"))


def _restarted(state: State, event: Restarted) -> State:
    attempt = state.current
    if state.phase is not Phase.COLLECTING or attempt is None or event.client not in attempt.pending:
        return state
    if (event.round, event.attempt) != (attempt.plan.round, attempt.plan.attempt):
        return state
    if event.client in attempt.here:  # it has trained, and goes on with the exchange
        return state
    lost_s, anew = attempt.lost_s + event.seconds, {**attempt.anew, event.client: event.now}
    return replace(state, current=replace(attempt, lost_s=lost_s, anew=anew))


def troubled(state: State, client: str, text: str) -> State:
    """The state that counts one more failure of a site."""
    site = state.site(client)
    return state.with_site(
        client, replace(site, failures=site.failures + 1, message=text[:_LONGEST], failed_round=state.round)
    )


def told(text: str) -> str:
    """Words of a site, as the status and records may hold them."""
    return visible(text)[:_LONGEST]


def _answered(state: State, event: Folded | AddedUp | FoldFailed | UpdatesDamaged | _Found) -> Step:
    """What became of an effect that takes long."""
    if isinstance(event, _Found):
        return _found(state, event), ()
    attempt = state.current
    if attempt is None or (event.round, event.attempt) != (attempt.plan.round, attempt.plan.attempt):
        return state, ()
    match event:
        case Folded():
            return committing.committed(state, event)
        case AddedUp():
            return secure.added(state, attempt, event), ()
        case FoldFailed():
            return closing.fold_failed(state, event.reason, event.message, event.now, event.judged)
        case UpdatesDamaged():
            return reopening.reopened(state, event.found, event.now)


def _found(state: State, event: _Found) -> State:
    """What was made or looked for beside the rounds."""
    match event:
        case Measured():
            return replace(state, measured=Measurement(event.items, event.tensors), measuring=False)
        case Encoded():
            return broadcasting.encoded(state, event)
        case BroadcastLost():
            return broadcasting.lost(state, event)
        case RoundFound() | RoundLost():
            return undoing.answered(rollback.answered(state, event), event, event.now)
        case ModelFound() | ModelLost():
            return evaluation_requests.found(state, event)


def _evaluation_closed(state: State, now: float) -> Step:
    if state.closing is None or state.tip is None or not evaluation.is_measured(state, now):
        return state, ()
    measured = evaluation.final(state)
    effects: tuple[Effect, ...] = (WriteEvaluation(measured, state.tip.attempt),) if measured else ()
    scores = evaluation.scored(state.scores, measured)
    end = replace(known, at=now) if (known := state.closing.end) else evaluateonly.ended(state, state.closing, now)
    state, more = _finished(replace(state, scores=scores, end=end, closing=None))
    return state, (*effects, *more)


def _finished(state: State) -> Step:
    if state.end is None:
        return state, ()
    return replace(state, phase=Phase.FINISHED, current=None), (Finish(state.end),)
