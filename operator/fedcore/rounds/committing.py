"""From a folded model to the commit and what comes after it: the next round, the last evaluation, the end. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial

from fedapi.wire.anomalies import Undoing
from fedapi.wire.commit import CommitRecord, Order, Participant, Rollback
from fedapi.wire.job import RollbackTo
from fedapi.wire.message import ObjectRef
from fedapi.wire.plan import PlanRecord
from fedapi.wire.store import EvaluationRecord
from fedapi.wire.update import UPDATE, UpdateManifest
from fedcore.anomalies.record import Judged
from fedcore.rounds import (
    anomalies,
    broadcasting,
    budget,
    closing,
    ending,
    evaluateonly,
    evaluation,
    lines,
    participation,
    signatures,
    window,
)
from fedcore.rounds.attempt import Attempt
from fedcore.rounds.effects import Commit, Discard, Effect, WriteEvaluation
from fedcore.rounds.events import Folded
from fedcore.rounds.participation import Participation
from fedcore.rounds.returns import Decided, Undone
from fedcore.rounds.sites import Contribution
from fedcore.rounds.state import End, Kept, Phase, State

_LAST = 2  # rounds that always stay: the last, and the one that it was made from, which sites may still be reading


def initial(state: State, model: ObjectRef, now: float, partial: bool = False) -> tuple[State, tuple[Effect, ...]]:
    """Commit 0: the model that training starts from. `partial`: it has tensors that do not travel, so all later need it."""
    if state.tip is not None:
        return state, ()
    commit = CommitRecord(
        job_uid=state.config.uid,
        round=0,
        attempt=0,
        epoch=state.epoch,
        model=model,
        initial=model if partial else None,
        planned_at=now,
        committed_at=now,
        image=state.config.image,
        rollbacks=recorded(state),
        ledger=state.ledger,
    ).sealed()
    made = replace(state, tip=commit, tip_sha256=commit.digest(), history=(Kept.of(commit),))
    return replace(made, decided=settled(made, commit)), (Commit(commit),)


def committed(state: State, folded: Folded) -> tuple[State, tuple[Effect, ...]]:
    """The commit of the closed attempt with what its fold made."""
    attempt, tip = state.current, state.tip
    if state.phase is not Phase.FOLDING or attempt is None or tip is None:
        return state, ()
    measured = evaluation.final(state)
    attempt = anomalies.without(attempt, folded.judged, folded.now)
    state = anomalies.told(replace(state, current=attempt), folded.judged, attempt.plan.round)
    commit = _commit(state, attempt, folded, measured)
    effects: tuple[Effect, ...] = (WriteEvaluation(measured, tip.attempt),) if measured else ()
    state = _with_contributions(with_tip(state, commit, measured, window.asked(attempt.plan)), attempt)
    state = after_commit(broadcasting.superseded(state, attempt.plan), folded.now)
    return state, (*effects, Commit(commit), discard(state, commit))


def discard(state: State, commit: CommitRecord, plans: Iterable[PlanRecord] = ()) -> Discard:
    """What goes once that commit, which the state has, is durable. `plans`: of the round after it."""
    return Discard(
        commit.round,
        kept_objects(state) | broadcasting.kept(state, plans),
        window.unsettled(state),
        exchanges=state.config.secure is not None,
    )


def after_commit(state: State, now: float) -> State:
    """The state with the evaluate-only step begun, when the last commit was the last one."""
    if state.tip is None or state.phase is not Phase.WAITING or state.end is not None:
        return state
    end = _success(state, state.tip.round, now)
    if end is None:
        return state
    return ending.evaluating(state, end, now)


def kept_objects(state: State) -> frozenset[str]:
    """Digests of the models and hub states that stay, by storage.history.keep. Called with the new tip in the state.

    An initial model that others are whole over stays with any of them.
    """
    keep = state.config.history_keep
    first = 0 if keep is None else len(state.history) - max(keep, _LAST)
    rounds = _needed(state) | set(range(max(0, first), len(state.history)))
    kept = [state.history[round_] for round_ in rounds]
    return frozenset(digest for entry in kept for digest in entry.objects)


def _needed(state: State) -> set[int]:
    """Rounds that stay whatever is asked for: the best, those of which it is not known, what is gone back to or evaluated."""
    scores = evaluation.counting(state)
    best = evaluation.best(state.config.stop, scores)
    unmeasured = {score.round for score in scores if not score.metrics}  # any of them may be the best
    sought = {each.asked.round for each in (state.seeking, state.undoing) if each is not None}
    asked = state.requested
    evaluated = {asked.asked.round} if asked and not asked.over else set()
    return unmeasured | sought | evaluated | ({best.round} if best else set())


def _success(state: State, round_: int, now: float) -> End | None:
    stopped = evaluation.stop_reason(state.config.stop, evaluation.counting(state), partial(lines.steps, state))
    if stopped is not None and round_ > 0:
        return End("Succeeded", *stopped, now)
    if evaluateonly.applies(state):
        return None
    if round_ < (last := lines.last_round(state)):
        return budget.end(state, now)
    return End("Succeeded", "RoundsCompleted", f"{round_} of {last} rounds are committed", now)


def _commit(state: State, attempt: Attempt, folded: Folded, measured: EvaluationRecord | None) -> CommitRecord:
    manifests = [attempt.accepted[client] for client in attempt.closed or ()]
    return CommitRecord(
        job_uid=state.config.uid,
        round=attempt.plan.round,
        attempt=attempt.plan.attempt,
        epoch=state.epoch,
        model=folded.model,
        hub_state=folded.hub_state,
        initial=state.tip.initial if state.tip else None,
        reference=attempt.plan.reference,
        participants=tuple(_participant(state, m, attempt.plan, folded.judged) for m in manifests),
        total_samples=evaluation.total(m.samples for m in manifests),
        training_metrics=evaluation.weighted_mean((m.samples, m.metrics) for m in manifests),
        evaluation_sha256=measured.digest() if measured else None,
        previous_sha256=state.tip_sha256,
        planned_at=attempt.plan.planned_at,
        committed_at=folded.now,
        image=attempt.plan.image,
        missed=missed(state, attempt.closed or ()),
        lost_s=state.spent_s,
        broadcast_bytes=attempt.plan.broadcast.object.size if attempt.plan.broadcast else None,
        anomalies=anomalies.recorded(state, folded.judged),
        rollbacks=recorded(state),
        undoings=undone(state),
        ledger=state.ledger,
        privacy=budget.charge(state, closing.fold(state, attempt), folded.within),
    ).sealed()


def missed(state: State, took_part: Iterable[str]) -> tuple[str, ...]:
    """Sites that were selected for the round under way, in any attempt, and have no update in it."""
    earlier = {client for failure in state.void for client in failure.missed}
    attempt = state.current
    if attempt is None:
        now: Iterable[str] = ()
    else:  # in asynchronous rounds who is not done yet goes on
        now = attempt.failed if window.is_asynchronous(state.config) else attempt.plan.selected
    return tuple(sorted(earlier.union(now).difference(took_part)))


def recorded(state: State) -> tuple[Rollback, ...]:
    """What the next commit says of values of spec.rollbackTo that were refused since the last."""
    news = (each for each in state.decided if each.commit is None)
    return tuple(Rollback(round=each.asked.round, id=each.asked.id, refused=each.refused) for each in news)


def undone(state: State) -> tuple[Undoing, ...]:
    """What the next commit says of anomalies for which nothing could be undone since the last."""
    return tuple(each.undoing for each in state.undone if each.commit is None)


def with_undoings(state: State, commit: CommitRecord) -> tuple[Undone, ...]:
    """The decided anomalies, with those that a commit records."""
    known = tuple(each for each in state.undone if each.commit is not None)
    return (*known, *(Undone(each, commit.round, commit.committed_at) for each in commit.undoings))


def settled(state: State, commit: CommitRecord) -> tuple[Decided, ...]:
    """The decided values, with those that a commit records."""
    known = tuple(each for each in state.decided if each.commit is not None)
    new = (Decided(RollbackTo(round=r.round, id=r.id), r.refused, commit.round) for r in commit.rollbacks)
    return (*known, *new)


def _participant(state: State, manifest: UpdateManifest, plan: PlanRecord, judged: Judged) -> Participant:
    order = Order(round=manifest.round, attempt=manifest.attempt)
    return Participant(
        client=manifest.client,
        samples=manifest.samples,
        payloads={name: payload.object.sha256 for name, payload in manifest.payloads.items()},
        steps=manifest.steps,
        training_s=manifest.training_s,
        sent_bytes=sum(ref.size for ref in manifest.objects),
        norm=judged.norm_of(manifest.client),
        cosine=judged.cosines.get(manifest.client),
        order=None if (order.round, order.attempt) == (plan.round, plan.attempt) else order,
        signed=state.signed.get((manifest.client, manifest.round, manifest.attempt)),
        privacy=manifest.privacy,
    )


def with_tip(state: State, commit: CommitRecord, measured: EvaluationRecord | None, selected: int) -> State:
    """The state with one more commit, between two rounds."""
    history = (*state.history, Kept.of(commit))
    state = with_part(state, participation.with_newer(parts(state, commit), commit))
    state = replace(
        state,
        phase=Phase.WAITING,
        tip=commit,
        tip_sha256=commit.digest(),
        history=history,
        line=lines.line(history) if commit.rolled_back_to is not None else state.line and state.line | {commit.round},
        decided=settled(state, commit),
        undone=with_undoings(state, commit),
        tip_selected=selected,
        attempt=1,
        void=(),
        skip=None,
        effort=state.effort.with_commit(commit),
        anomalies=state.anomalies.with_newer(commit.round, commit.committed_at, commit.anomalies),
        account=state.account.with_commit(commit),
        current=None,
        reports={},
        excused=frozenset(),
        scores=evaluation.scored(state.scores, measured),
    )
    return replace(state, signed=signatures.left(state, commit)) if state.signed else state


def parts(state: State, commit: CommitRecord) -> dict[str, Participation]:
    """What those that were selected for a commit's round have done, as far as the state knows."""
    return {client: state.site(client).part for client in participation.selected(commit)}


def with_part(state: State, found: Mapping[str, Participation]) -> State:
    """The state with what these sites did in committed rounds."""
    return state.with_sites({client: replace(state.site(client), part=part) for client, part in found.items()})


def _with_contributions(state: State, attempt: Attempt) -> State:
    made = {client: _contribution(attempt.accepted[client]) for client in attempt.closed or ()}
    return state.with_sites(
        {client: replace(state.site(client), committed=contribution) for client, contribution in made.items()}
    )


def _contribution(manifest: UpdateManifest) -> Contribution:
    return Contribution(manifest.round, manifest.attempt, manifest.payloads[UPDATE].object.sha256)
