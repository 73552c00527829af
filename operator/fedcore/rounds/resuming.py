"""The asynchronous round under way after a restart, from what the store holds. Pure; handed to recovery.py by modes.py.

An accepted update is one whose manifest is there, whose order counts, and which is in no model. Which of them are folded says
the close record, if there is one; all others are in the buffer, or wait for the next.
"""

from collections.abc import Mapping
from dataclasses import replace

from fedapi.wire.commit import Buffered
from fedapi.wire.update import UpdateManifest
from fedcore.rounds import broadcasting, claims, closing, planning, window
from fedcore.rounds.effects import Effect, Forget
from fedcore.rounds.recovery import Log, Recovered, newest_plan
from fedcore.rounds.state import Phase, State


def resumed(state: State, log: Log, now: float) -> Recovered:
    """The state with what was accepted, in the round under way where its plan is there."""
    effects = _forgotten(state, log)
    plan = newest_plan(log, state.attempt)
    if plan is None or state.tip is None or plan.base.sha256 != state.tip.model.sha256:
        return _with_sites(replace(state, carried=_accepted(state, log, {}))), effects
    attempt, state = planning.attempt_of(state, plan, now), broadcasting.resumed(state, plan)
    state = replace(state, phase=Phase.COLLECTING, current=attempt)
    found = {(m.client, m.round, m.attempt): m for m in _whole(state, log)}
    close = next((c for c in reversed(log.closes) if c.attempt == plan.attempt), None)
    if close is not None and close.buffer and all(_said(each) in found for each in close.buffer):
        folded = {each.client: found[_said(each)] for each in close.buffer}
        state = replace(state, phase=Phase.FOLDING)  # what came since is in the round after
        attempt = replace(attempt, accepted=_accepted(state, log, folded), closed=close.accepted, lost_s=close.lost_s)
        state, fold = closing.after_closing(_with_sites(replace(state, current=attempt)), attempt)
        return state, (*effects, *fold)
    accepted = _accepted(state, log, {})
    attempt = replace(attempt, accepted=accepted, quorum_at=now if len(accepted) >= attempt.quorum else None)
    return _with_sites(replace(state, current=attempt)), effects


def _said(each: Buffered) -> tuple[str, int, int]:
    return each.client, each.round, each.attempt


def _whole(state: State, log: Log) -> list[UpdateManifest]:
    """The manifests of orders of this history, oldest first."""
    found = [m for m in log.manifests if m.base_sha256 == window.base_sha256(state, m.round)]
    return sorted(found, key=lambda m: (m.round, m.attempt, m.client))


def _accepted(state: State, log: Log, folded: Mapping[str, UpdateManifest]) -> dict[str, UpdateManifest]:
    """By site its update that is in no model: the one that is being folded, or the oldest that counts."""
    found = dict(folded)
    for manifest in _whole(state, log):
        if window.refusal(state, manifest.client, manifest.round, manifest.attempt) is None:
            found.setdefault(manifest.client, manifest)
    return found


def _with_sites(state: State) -> State:
    """The state whose sites' entries know of these updates."""
    sites = {client: claims.taken(state, manifest) for client, manifest in state.accepted.items()}
    closed = (state.current.closed if state.current else None) or ()
    now = {client: state.round if client in closed else window.into(state) for client in sites}
    return state.with_sites({client: replace(site, last_round=now[client]) for client, site in sites.items()})


def _forgotten(state: State, log: Log) -> tuple[Effect, ...]:
    """Manifests of updates of which no model came, which a process that died did not delete."""
    there = (m for m in log.manifests if window.dropped(state, m.client, m.round, m.attempt))
    keys = tuple(state.layout.manifest(m.client, m.round, m.attempt) for m in there)
    return (Forget(keys),) if keys else ()
