"""Going back to the model of an earlier round, by a new commit: spec.rollbackTo. Pure; called by machine.

Each value is decided once and the commit that follows records it, so neither a restart nor a later round does it again.
History is not rewritten and numbers of rounds go on; what was spent, privacy with it, stays spent. A round under way
comes to nothing: it has not failed.
"""

from dataclasses import replace

from fedapi.wire.anomalies import Anomaly, Undoing
from fedapi.wire.commit import CommitRecord, Rollback
from fedapi.wire.job import RollbackTo
from fedapi.wire.store import EvaluationRecord
from fedcore.rounds import anomalies, budget, committing, effort, evaluation
from fedcore.rounds.effects import Commit, Effect, FindRound, WriteEvaluation
from fedcore.rounds.events import RoundFound, RoundLost
from fedcore.rounds.returns import Decided, Seeking
from fedcore.rounds.state import Phase, State

_SHOWN = 20  # rounds in a message
_MAKING = (Phase.OPENING, Phase.FOLDING)


def due(state: State, now: float) -> tuple[State, tuple[Effect, ...]]:
    """What the present value of spec.rollbackTo asks for now: to look, to commit, or nothing, because it is decided."""
    asked = state.config.rollback_to
    if asked is None or any(each.asked == asked for each in state.decided):
        return (state if state.seeking is None else replace(state, seeking=None)), ()
    if refused := _refused(state, asked):
        return _with_refusal(state, asked, refused), ()
    if state.seeking is None or state.seeking.asked != asked:
        return replace(state, seeking=Seeking(asked)), (FindRound(asked),)
    if state.seeking.commit is None or state.phase in _MAKING:  # the round that is being made is committed first
        return state, ()
    return gone_back(state, state.seeking, state.seeking.commit, now)


def answered(state: State, event: RoundFound | RoundLost) -> State:
    """The state that knows whether the round can be gone back to. Who asks for another by now is not answered."""
    if state.seeking is None or state.seeking.asked != event.asked:
        return state
    if isinstance(event, RoundLost):
        return _with_refusal(state, event.asked, event.message)
    return replace(state, seeking=Seeking(event.asked, event.commit, event.made))


def _refused(state: State, asked: RollbackTo) -> str:
    """Why a value cannot be done, as far as the state tells; empty where it can."""
    last = state.tip.round if state.tip else -1
    if state.end is not None or state.phase in (Phase.EVALUATING, Phase.FINISHED):
        return f"training is over: `fedloom model pull` gives the model of round {asked.round}, and a new job goes on from it"
    if asked.round == last:
        return f"round {last} is the last committed round: training goes on from its model as it is"
    if asked.round > last:
        return f"round {asked.round} is not committed: {f'choose one of 0 to {last - 1}' if last > 0 else 'no round is yet'}"
    return not_kept(state, asked.round)


def not_kept(state: State, round_: int) -> str:
    """That the model of a committed round was deleted; empty where it is there."""
    keep = committing.kept_objects(state)
    kept = [each for each, entry in enumerate(state.history[:-1]) if entry.model in keep]
    if round_ in kept:
        return ""
    named = ", ".join(map(str, kept[-_SHOWN:])) or "none before it"
    return f"the model of round {round_} is not kept (spec.storage.history.keep): kept are {named}"


def _with_refusal(state: State, asked: RollbackTo, refused: str) -> State:
    return replace(state, decided=(*state.decided, Decided(asked, refused[:900])), seeking=None)


def gone_back(
    state: State,
    seeking: Seeking,
    to: CommitRecord,
    now: float,
    undoings: tuple[Undoing, ...] = (),
    suspects: tuple[Anomaly, ...] = (),
) -> tuple[State, tuple[Effect, ...]]:
    """The commit of the older model. An attempt under way is void: its sites are told to drop it.

    `undoings`: because of these anomalies, and not of spec.rollbackTo; `suspects`: who is selected no more from then on.
    """
    tip, measured = state.tip, evaluation.final(state)
    if tip is None:
        return state, ()
    asked = () if undoings else (Rollback(round=seeking.asked.round, id=seeking.asked.id),)
    commit = _commit(state, asked, to, measured, now).model_copy(
        update={
            "anomalies": (*anomalies.recorded(state), *suspects),
            "undoings": (*committing.undone(state), *undoings),
        }
    )
    commit = commit.sealed()
    effects: tuple[Effect, ...] = (WriteEvaluation(measured, tip.attempt),) if measured else ()
    state = committing.with_tip(
        replace(state, seeking=None, undoing=None, closing=None, carried={}), commit, measured, 0
    )
    made = {client: replace(site, committed=seeking.made.get(client)) for client, site in state.sites.items()}
    state = state.with_sites(made)
    return state, (*effects, Commit(commit), committing.discard(state, commit))


def _commit(
    state: State, asked: tuple[Rollback, ...], to: CommitRecord, measured: EvaluationRecord | None, now: float
) -> CommitRecord:
    under_way = state.current.plan.attempt + 1 if state.current else state.attempt  # a plan has that folder alone
    return CommitRecord(
        job_uid=state.config.uid,
        round=state.round,
        attempt=under_way,
        epoch=state.epoch,
        model=to.model,
        hub_state=to.hub_state,
        initial=to.initial,
        evaluation_sha256=measured.digest() if measured else None,
        previous_sha256=state.tip_sha256,
        planned_at=now,
        committed_at=now,
        image=to.image,
        rolled_back_to=to.round,
        lost_s=state.spent_s
        + (effort.trained_s(state.current.accepted, now - state.current.plan.planned_at) if state.current else 0.0),
        rollbacks=(*committing.recorded(state), *asked),
        ledger=state.ledger,
        privacy=budget.sent_charge(state),
    )
