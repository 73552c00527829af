"""What of an event, or of what became durable, is told in the ledger. Called by the engine; writes nothing.

What a commit makes true is told after HEAD has moved, so that the ledger never tells of a round that did not happen: an
aggregator that died in between is made up for by `caught_up`.
"""

from collections.abc import Callable, Iterable, Iterator

from fedaggregator.engine.ledger import Ledger
from fedaggregator.ports import Holder
from fedapi.wire.anomalies import Anomaly, Undoing
from fedapi.wire.issues import Method
from fedapi.wire.message import ObjectRef
from fedapi.wire.site import UpdateManifest
from fedapi.wire.store import CommitRecord, EvaluationRecord, FailureRecord, PlanRecord
from fedcore.ledger.entries import Entry
from fedcore.rounds.effects import Effect, Finish, WriteEvaluation, WriteFailure, WritePlan
from fedcore.rounds.events import Accepted, Event
from fedcore.rounds.state import End, State
from fedstore import ledgers

_Tell = Callable[[Ledger], None]
_TOGETHER = 100  # sites in one entry: their names are at most 253 characters


def durable(ledger: Ledger, effect: Effect) -> None:
    """An effect became durable, which is no commit."""
    match effect:
        case WritePlan(plan):
            _planned(ledger, plan)
        case WriteFailure(failure):
            _failed(ledger, failure)
        case WriteEvaluation(evaluation):
            evaluated(ledger, evaluation)
        case Finish(end):
            _ended(ledger, end)
        case _:
            pass


def taken(ledger: Ledger, event: Event, before: State) -> None:
    """An event is taken into the state."""
    if isinstance(event, Accepted) and before.accepted.get(event.manifest.client) is not event.manifest:
        _accepted(ledger, event.manifest)


def evaluated(ledger: Ledger, record: EvaluationRecord) -> None:
    """A committed model was measured."""
    ledger.append(
        "evaluated",
        round=record.round,
        model_sha256=record.model_sha256,
        samples=record.samples,
        evaluation_sha256=record.sealed().digest(),
    )


def committed(ledger: Ledger, commit: CommitRecord) -> None:
    """HEAD reaches a commit."""
    ledger.counted()
    _left_out(ledger, commit.round, commit.attempt, commit.anomalies)
    for undoing in commit.undoings:
        _undone(ledger, commit.round, undoing)
    ledger.append(
        "committed",
        round=commit.round,
        attempt=commit.attempt,
        commit_sha256=commit.sealed().digest(),
        model_sha256=commit.model.sha256,
        updates=len(commit.participants),
        updates_root=ledgers.updates_root(commit.participants),
        samples=commit.total_samples,
        rolled_back_to=commit.rolled_back_to,
        skipped=commit.skipped or None,
    )


def issued(ledger: Ledger, method: Method, ref: ObjectRef, to: Holder, expires_at: float) -> None:
    """A URL was made for a site."""
    ledger.append(
        "issued",
        method=method,
        sha256=ref.sha256,
        size=ref.size,
        client=to.client,
        round=to.round or None,
        attempt=to.attempt or None,
        expires=int(expires_at),
    )


def caught_up(ledger: Ledger, state: State, told: Iterable[Entry]) -> None:
    """What is durable, and another process died before it told it. `told`: the newest entries, those of the last commit on."""
    known = {_what(entry) for entry in told}
    for tell, what in _missing(state):
        if what not in known:
            tell(ledger)


def _missing(state: State) -> Iterator[tuple[_Tell, tuple[object, ...]]]:
    tip, attempt = state.tip, state.current
    if tip is not None:
        yield (lambda ledger: committed(ledger, tip)), ("committed", tip.round, tip.attempt, None)
    for failure in state.void:
        yield _tells_failure(failure), ("attemptFailed", failure.round, failure.attempt, None)
    if attempt is not None:
        plan = attempt.plan
        yield (lambda ledger: _planned(ledger, plan)), ("planned", plan.round, plan.attempt, None)
    for manifest in state.accepted.values():
        yield _tells_update(manifest), ("accepted", manifest.round, manifest.attempt, manifest.client)
    if (end := state.end) is not None:
        yield (lambda ledger: _ended(ledger, end)), ("ended", None, None, None)


def _what(entry: Entry) -> tuple[object, ...]:
    facts = entry.facts
    return entry.kind, facts.get("round"), facts.get("attempt"), facts.get("client")


def _tells_failure(failure: FailureRecord) -> _Tell:
    return lambda ledger: _failed(ledger, failure)


def _tells_update(manifest: UpdateManifest) -> _Tell:
    return lambda ledger: _accepted(ledger, manifest)


def _planned(ledger: Ledger, plan: PlanRecord) -> None:
    """In several entries where the sites are many."""
    for first in range(0, max(1, len(plan.selected)), _TOGETHER):
        ledger.append(
            "planned",
            round=plan.round,
            attempt=plan.attempt,
            plan_sha256=plan.sealed().digest(),
            base_sha256=plan.base.sha256,
            sites=len(plan.selected),
            first=first,
            selected=list(plan.selected[first : first + _TOGETHER]),
        )


def _accepted(ledger: Ledger, manifest: UpdateManifest) -> None:
    ledger.append(
        "accepted",
        round=manifest.round,
        attempt=manifest.attempt,
        client=manifest.client,
        base_sha256=manifest.base_sha256,
        payloads={name: payload.object.sha256 for name, payload in manifest.payloads.items()},
        samples=manifest.samples,
    )


def _left_out(ledger: Ledger, round_: int, attempt: int, anomalies: Iterable[Anomaly]) -> None:
    """Updates that were accepted and are in no model all the same, because the fold of this attempt found them anomalous."""
    for each in anomalies:
        if each.is_excluded and each.attempt == attempt:
            ledger.append(
                "refused", client=each.client, round=round_, attempt=attempt, code="Anomalous", message=each.text
            )


def _undone(ledger: Ledger, committed: int, undoing: Undoing) -> None:
    """What an anomaly has undone, or, as an alert, why nothing was."""
    told: dict[str, str | int | None] = {
        "cause": undoing.cause, "client": undoing.client or None, "anomaly": undoing.round, "round": committed,
    }  # fmt: skip
    if undoing.refused:
        ledger.append("alert", reason="NotUndone", message=undoing.refused, **told)
        return
    ledger.append("undone", to=undoing.to, rounds=[str(each) for each in undoing.rounds], **told)


def _failed(ledger: Ledger, failure: FailureRecord) -> None:
    _left_out(ledger, failure.round, failure.attempt, failure.anomalies)
    ledger.append(
        "attemptFailed",
        round=failure.round,
        attempt=failure.attempt,
        reason=failure.reason,
        message=failure.message,
    )


def _ended(ledger: Ledger, end: End) -> None:
    ledger.append("ended", result=end.result, reason=end.reason, message=end.message)
