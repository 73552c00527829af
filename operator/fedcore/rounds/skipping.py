"""Rounds in which nobody takes part: a draw that came out too small, or too few sites that are due. Pure; called by planning.

Such a round is committed without updates, so that the next one can be planned: its model is the last one, and it counts as a
round. It has no plan. Several in a row come slowly, so that an outage of the sites does not use up the job's rounds: draws
after 1, 2, 4 … seconds, at most the round's deadline; where a site is due that is silent, the deadline is waited for it.
"""

from dataclasses import replace

from fedapi.wire.commit import CommitRecord
from fedcore.rounds import anomalies, budget, committing, evaluation
from fedcore.rounds.effects import Commit, Effect, WriteEvaluation
from fedcore.rounds.state import Skip, State

EMPTY_DRAW, SMALL_DRAW, NOBODY_DUE = "EmptyDraw", "SmallDraw", "NobodyDue"  # why nobody takes part
PAUSE_S = 1.0  # between two in a row, at least
_DOUBLINGS = 30


def skipped(state: State, reason: str, now: float, *, awaited: bool = False) -> tuple[State, tuple[Effect, ...]]:
    """The state after the round, or, where it is too early for that, one that knows when it may be skipped.

    `awaited`: there are sites that could take part, and are silent.
    """
    tip = state.tip
    if tip is None:
        return state, ()
    at = tip.committed_at + (state.config.deadline_s if awaited else _pause_s(state, reason))
    if now < at:
        return replace(state, skip=Skip(at, state.config, state.carried)), ()
    measured = evaluation.final(state)
    commit = CommitRecord(
        job_uid=state.config.uid,
        round=state.round,
        attempt=state.attempt,
        epoch=state.epoch,
        model=tip.model,
        hub_state=tip.hub_state,
        initial=tip.initial,
        reference=tip.reference,
        evaluation_sha256=measured.digest() if measured else None,
        previous_sha256=state.tip_sha256,
        planned_at=now,
        committed_at=now,
        image=state.config.image,
        missed=committing.missed(state, ()),
        lost_s=state.spent_s,
        skipped=reason,
        anomalies=anomalies.recorded(state),
        rollbacks=committing.recorded(state),
        undoings=committing.undone(state),
        ledger=state.ledger,
        privacy=budget.sent_charge(state),
    ).sealed()
    effects: tuple[Effect, ...] = (WriteEvaluation(measured, tip.attempt),) if measured else ()
    state = committing.after_commit(committing.with_tip(state, commit, measured, 0), now)
    return state, (*effects, Commit(commit), committing.discard(state, commit))


def _pause_s(state: State, reason: str) -> float:
    """How long after the last commit. Those that are not due will be so after a number of rounds that is known."""
    row = next((n for n, entry in enumerate(reversed(state.history)) if not entry.skipped), len(state.history))
    if not row:
        return 0.0
    doublings = min(row - 1, _DOUBLINGS) if reason != NOBODY_DUE else 0
    return min(PAUSE_S * 2.0**doublings, max(PAUSE_S, state.config.deadline_s))
