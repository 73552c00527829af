"""The job's status as the aggregator tells it: a pure function of the state. Called by the publisher.

Leaves are those that fedapi.crd.job_status marks as the aggregator's; nothing else is ever written.
"""

import heapq
import math
import re
from collections.abc import Mapping
from typing import Any

from fedaggregator import anomalystatus
from fedaggregator.timetext import time_text
from fedapi import decimals
from fedapi.crd import job_status as api
from fedapi.crd.dpsgd import RecordPrivacyStatus
from fedapi.crd.fields import DECIMAL_PATTERN
from fedapi.crd.ledger import LedgerStatus
from fedapi.crd.privacy import PrivacyStatus
from fedapi.crd.release import ReleaseStatus
from fedapi.jsonvalue import JsonView
from fedapi.wire.message import ObjectRef
from fedcore.rounds import budget, closing, evaluation, heldout, lines, planning, secure, signatures, spentsites, window
from fedcore.rounds.attempt import Attempt
from fedcore.rounds.state import Phase, Score, State

_LARGE, _FURTHEST = 1e9, 9.99999e99


def status(
    state: State,
    trouble: str = "",
    queue_trouble: str = "",
    storage: api.StorageStatus | None = None,
    ledger: LedgerStatus | None = None,
    attestation: api.AttestationStatus | None = None,
    release: ReleaseStatus | None = None,
) -> JsonView:
    """The status object with API names. `trouble`: what holds the aggregator up now, or its queues; `storage`: of the bucket."""
    scores = evaluation.settled(state)
    return api.FederatedJobStatus(
        outcome=_outcome(state),
        round=_round(state),
        participants=_participants(state),
        headline_metric=_headline(state, scores),
        metrics=_metrics(scores[-1]) if scores else None,
        held_out=_held_out(state),
        evaluation=_evaluation(state),
        best_round=_best(state, scores),
        goodput=_goodput(state),
        clients=_clients(state),
        participation=_participation(state),
        anomalies=anomalystatus.anomalies(state),
        model=_model(state),
        privacy=_privacy(state),
        record_privacy=_record_privacy(state),
        rollback=_rollback(state),
        trouble=None if state.phase is Phase.FINISHED else trouble[:1024] or None,
        storage=storage,
        ledger=ledger,
        attestation=attestation,
        release=release,
        queue_trouble=None if state.phase is Phase.FINISHED else queue_trouble[:1024] or None,
    ).dump()


def _outcome(state: State) -> api.Outcome | None:
    end = state.end
    if end is None or state.phase is not Phase.FINISHED:
        return None
    return api.Outcome(result=end.result, reason=end.reason, message=end.message, time=time_text(end.at))


def _round(state: State) -> api.RoundStatus:
    attempt, done = state.current, state.tip.round if state.tip else 0
    ends_at = secure.ends_at(attempt) if attempt else state.closing.until if state.closing else None
    return api.RoundStatus(
        current=attempt.plan.round if attempt else done,
        total=lines.last_round(state),
        attempt=attempt.plan.attempt if attempt else max(1, state.tip.attempt if state.tip else 1),
        last_failure=state.void[-1].reason if state.void else "",
        start_time=time_text(attempt.plan.planned_at) if attempt else None,
        deadline=time_text(ends_at) if ends_at is not None else None,
        step="Train" if attempt else "Evaluate" if state.closing else None,
        exchange=attempt.secure.step if attempt and attempt.secure else None,
        selected=list(_selected(state)),
        accepted=_in_round(state),
        committed=done,
        progress=f"{done}/{lines.last_round(state)}",
        groups=_groups(state),
    )


def _groups(state: State) -> str | None:
    groups = state.tip.groups if state.tip else ()
    return f"{len(groups)} of {sum(len(each.sites) for each in groups)} sites" if groups else None


def _selected(state: State) -> tuple[str, ...]:
    """Sites of the step under way. With lifetime Round the operator makes Jobs for them: all are named."""
    named = state.current.plan.selected if state.current else ()
    if state.closing is not None:
        named = tuple(sorted(state.closing.expected))
    elif state.config.lifetime == "Round" and state.current:
        named = (*named, *sorted(heldout.due(state)))  # after those that train: these have the first places
    return named[: api.MAX_SELECTED if state.config.lifetime == "Round" else api.MAX_LISTED]


def _in_round(state: State) -> int:
    """Accepted updates of the round under way, without those that wait for the next."""
    if state.current is None:
        return 0
    return len(state.current.accepted if state.current.closed is None else state.current.closed)


def _participants(state: State) -> str | None:
    if state.current is not None:
        return f"{_in_round(state)}/{window.asked(state.current.plan)}"
    return f"{len(state.tip.participants)}/{state.tip_selected}" if state.tip and state.tip_selected else None


def _headline(state: State, scores: tuple[Score, ...]) -> str | None:
    name = evaluation.headline(state.config.stop, scores[-1].metrics) if scores else None
    return f"{name} {_short(scores[-1].metrics[name])}"[-63:] if name else None


def _short(value: float) -> str:
    """Two digits after the point; of what would be a row of digits its size."""
    return f"{value:.2f}" if abs(value) < _LARGE else f"{value:.2e}"


def _metrics(score: Score) -> list[api.Metric]:
    return _listed(score.metrics, score.round)


def _listed(metrics: Mapping[str, float], round_: int) -> list[api.Metric]:
    items = sorted(metrics.items())[:32]
    return [api.Metric(name=name, value=_decimal(value), round=round_) for name, value in items]


def _evaluation(state: State) -> api.EvaluationStatus | None:
    known = state.requested
    if known is None:
        return None
    asked, records = known.asked, [known.records[name] for name in sorted(known.records)]
    missing = sorted(set(asked.clients) - known.records.keys())
    result: Any = (
        "Refused" if known.refused else "Incomplete" if known.over and missing else "Done" if known.over else "Running"
    )
    means = evaluation.weighted_mean((record.samples, record.metrics) for record in records)
    return api.EvaluationStatus(
        round=asked.round,
        id=asked.id,
        state=result,
        sites=f"{len(records)}/{len(asked.clients)}",
        missing=missing[: api.MAX_LISTED],
        metrics=_listed(means, asked.round),
        message=known.refused[:1024],
    )


def _held_out(state: State) -> api.HeldOutStatus | None:
    newest = heldout.newest(state)
    if newest is None:
        return None
    means = evaluation.weighted_mean((record.samples, record.metrics) for record in newest.records.values())
    sites = f"{len(newest.records)}/{sum(heldout.is_held_out(state, name) for name in state.roster.held_out)}"
    return api.HeldOutStatus(round=newest.round, sites=sites, metrics=_listed(means, newest.round))


def _best(state: State, scores: tuple[Score, ...]) -> api.BestRound | None:
    best = evaluation.best(state.config.stop, scores)
    return api.BestRound(round=best.round, metric=best.metric, value=_decimal(best.value)) if best else None


def _decimal(value: float) -> str:
    """As the API takes numbers, whose exponents have two digits: what is nearer to 0 is 0, what is further is the furthest."""
    text = decimals.short(value)
    if re.fullmatch(DECIMAL_PATTERN, text):
        return text
    return "0" if abs(value) < 1 else decimals.short(math.copysign(_FURTHEST, value))


def _goodput(state: State) -> str | None:
    share = state.effort.goodput(state.spent_s)
    return None if share is None else f"{share:.3f}"


def _clients(state: State) -> list[api.ClientStatus]:
    """Sites of the roster, failing first."""
    first = heapq.nsmallest(api.MAX_LISTED, state.roster.by_name, key=lambda name: _urgency(state, name))
    return [_client(state, name) for name in first]


def _urgency(state: State, name: str) -> tuple[bool, bool, str]:
    failed = state.current is not None and state.current.failed.get(name, closing.LATE) != closing.LATE
    return (
        not (failed or _kept_out(state, name)),
        state.site(name).failures == 0,
        name,
    )


def _client(state: State, name: str) -> api.ClientStatus:
    site = state.site(name)
    why = planning.misfit(state, name) or signatures.untimely(state, name, site.heard_at or 0.0)  # as it was then
    return api.ClientStatus(
        name=name,
        state=_client_state(state, name),
        last_round=site.last_round,
        samples=site.samples,
        rounds=site.rounds,
        selected=site.part.selected,
        record_epsilon=None if site.privacy is None else _rounded_up(site.privacy.epsilon),
        failures=site.failures,
        message=why[:1024] or site.message,
    )


def _participation(state: State) -> list[api.SiteParticipation]:
    """Sites of the roster, those that were selected last first: whose counters have changed is named, however many there are."""
    parts = ((-(part := state.site(name).part).last_selected, name, part) for name in state.roster.by_name)
    return [
        api.SiteParticipation(name=name, selected=part.selected, accepted=part.accepted, last_round=part.last_round)
        for _, name, part in heapq.nsmallest(api.MAX_COUNTED_SITES, parts)
    ]


def _client_state(state: State, name: str) -> Any:
    attempt = state.current
    if out := _kept_out(state, name):
        return out
    if attempt is not None and attempt.selected(name):
        return _state_in_attempt(state, attempt, name)
    if heldout.is_held_out(state, name) and (state.config.lifetime == "Round" or not planning.unheard(state, name)):
        return "HeldOut"
    if state.config.lifetime == "Round" or state.phase is Phase.FINISHED:
        return "Idle"
    return "Waiting" if planning.unheard(state, name) else "Idle"


def _kept_out(state: State, name: str) -> str:
    """What keeps a site out of rounds; empty: nothing."""
    if planning.misfit(state, name):
        return "Incompatible"
    if name in state.roster.suspended:
        return "Suspended"
    return "BudgetSpent" if spentsites.is_spent(state, name) else ""


def _state_in_attempt(state: State, attempt: Attempt, name: str) -> str:
    if name in attempt.accepted:
        return "Accepted"
    if name in attempt.failed:
        return "Late" if attempt.failed[name] == closing.LATE else "Failed"
    if attempt.closed is not None and not window.is_asynchronous(state.config):
        return "Late"
    return "Waiting" if planning.unheard(state, name) else "Training"


def _model(state: State) -> api.ModelStatus | None:
    if state.tip is None:
        return None
    model, initial = state.tip.model, state.tip.initial
    whole = None if initial is None else api.InitialModelStatus(uri=_uri(state, initial), sha256=initial.sha256)
    return api.ModelStatus(uri=_uri(state, model), sha256=model.sha256, round=state.tip.round, initial=whole)


def _uri(state: State, model: ObjectRef) -> str:
    return f"{state.config.store_uri}/{model.key}" if state.config.store_uri else model.key


def _privacy(state: State) -> PrivacyStatus | None:
    asked, account = state.config.privacy, budget.spent(state)
    if asked is None or account.unprotected:
        return None
    return PrivacyStatus(
        mode=asked.mode,
        unit="Site",
        epsilon=_rounded_up(account.epsilon(asked.delta)),
        delta=_decimal(asked.delta),
        clip_norm=_decimal(budget.clip_norm(state, asked)) if asked.adaptive else None,
        target_epsilon=None if asked.target_epsilon is None else _decimal(asked.target_epsilon),
        noise_multiplier=None if account.last is None else _decimal(account.last),
    )


def _record_privacy(state: State) -> RecordPrivacyStatus | None:
    """Of the site whose records are told most of: one that the job has no longer counts all the same."""
    asked = state.config.training.dp_sgd
    told = [(site.privacy.epsilon, name) for name, site in state.sites.items() if site.privacy is not None]
    if asked is None or not told:
        return None
    epsilon, name = max(told)
    return RecordPrivacyStatus(
        unit="Record",
        epsilon=_rounded_up(epsilon),
        delta=_decimal(asked.delta),
        target_epsilon=None if asked.target_epsilon is None else _decimal(asked.target_epsilon),
        site=name,
    )


def _rounded_up(value: float) -> str:
    """With 4 digits after the point, and never less than it is; but for what binary fractions make of the last."""
    return f"{math.ceil(value * 1e4 - 1e-6) / 1e4:.4f}"


def _rollback(state: State) -> api.RollbackStatus | None:
    """What became of the value of spec.rollbackTo that was decided last."""
    if not state.decided:
        return None
    last = state.decided[-1]
    return api.RollbackStatus(
        round=last.asked.round,
        id=last.asked.id,
        result="Refused" if last.refused else "Done",
        committed=None if last.refused else last.commit,
        message=last.refused or f"round {last.commit} has the model of round {last.asked.round}",
    )
