"""Metrics and log lines of what the engine does. Called by the engine; decides nothing."""

import logging
from collections.abc import Iterable

from fedaggregator import metrics
from fedapi import names
from fedapi.wire.anomalies import Anomaly
from fedapi.wire.update import Payload
from fedcore.rounds import budget, planning
from fedcore.rounds.effects import Commit, Effect, WriteFailure
from fedcore.rounds.events import Encoded
from fedcore.rounds.state import State

log = logging.getLogger(__name__)


def connected(state: State, now: float) -> int:
    """Sites that were heard lately."""
    heard = (site.heard_at for site in state.sites.values())
    return sum(1 for at in heard if at is not None and now - at <= names.SITE_LEASE_ACTIVE_S)


def incompatible(state: State) -> int:
    """Sites that cannot be given work."""
    return sum(1 for client in state.sites if planning.misfit(state, client))


def new(before: State, after: State, client: str) -> bool:
    """Whether a site was not heard before, or not as it is now."""
    return planning.unheard(before, client) or before.site(client).speech != after.site(client).speech


def accepted(update: Payload, plain_bytes: int) -> None:
    """An update counts, which would have so many bytes as a plain file."""
    metrics.UPDATES.inc()
    metrics.CLIPPED.inc(update.clipped)
    metrics.UPDATE_BYTES.labels(update.codec, "Sent").inc(update.object.size)
    metrics.UPDATE_BYTES.labels(update.codec, "Plain").inc(plain_bytes)
    metrics.UPDATE_RATIO.set(plain_bytes / max(1, update.object.size))


def encoded(event: Encoded) -> None:
    """A model was encoded for the way down: of an initial one, what travels. A delta that is not smaller is not sent."""
    plain, codec = event.plain_bytes, event.what.encoding.codec
    sent = event.object.size if event.object is not None else plain
    metrics.BROADCAST_BYTES.labels(codec, "Sent").set(sent)
    metrics.BROADCAST_BYTES.labels(codec, "Plain").set(plain)
    metrics.BROADCAST_RATIO.set(plain / max(1, sent))
    told("encoded", round=event.what.round, codec=codec, model=event.what.model.sha256, bytes=sent, plain_bytes=plain)


def shown(state: State) -> None:
    """A state became visible: how far the job is, what its model weighs, how long sites have trained, and for what."""
    metrics.ATTEMPT.set(state.attempt)
    metrics.ROUND.set(state.tip.round if state.tip else 0)
    if state.tip is not None:
        metrics.MODEL_BYTES.set(state.tip.model.size)
        metrics.WHOLE_MODEL_BYTES.set((state.tip.initial or state.tip.model).size)
    if (asked := state.config.privacy) is not None:
        metrics.PRIVACY_EPSILON.set(budget.spent(state).epsilon(asked.delta))
    metrics.TRAINING_SECONDS.labels("committed").set(state.effort.useful_s)
    metrics.TRAINING_SECONDS.labels("lost").set(state.effort.lost_s + state.spent_s)
    share = state.effort.goodput(state.spent_s)
    if share is not None:
        metrics.GOODPUT.set(share)


def durable(effect: Effect) -> None:
    """An effect became durable."""
    match effect:
        case Commit(commit) if commit.rolled_back_to is not None:
            _anomalous(commit.round, (each for each in commit.anomalies if each.is_suspect))
            told("rolled back", round=commit.round, to=commit.rolled_back_to, model=commit.model.sha256)
        case Commit(commit) if commit.skipped:
            metrics.ROUNDS_SKIPPED.labels(commit.skipped).inc()
            told("skipped", round=commit.round, reason=commit.skipped)
        case Commit(commit):
            _anomalous(commit.round, (each for each in commit.anomalies if each.attempt == commit.attempt))
            metrics.ROUND_SECONDS.observe(commit.committed_at - commit.planned_at)
            told(
                "committed",
                round=commit.round,
                model=commit.model.sha256,
                participants=len(commit.participants),
                model_bytes=commit.model.size,
                whole_model_bytes=(commit.initial or commit.model).size,
            )
        case WriteFailure(failure):
            _anomalous(failure.round, failure.anomalies)
            metrics.ATTEMPT_FAILURES.inc()
            told("attempt failed", round=failure.round, attempt=failure.attempt, reason=failure.message)
        case _:
            told(type(effect).__name__)


def _anomalous(round_: int, anomalies: Iterable[Anomaly]) -> None:
    for each in anomalies:
        metrics.ANOMALIES.labels(each.facts[0].kind, each.action).inc()
        told("anomalous update", round=round_, client=each.client, action=each.action, norm=each.norm, reason=each.text)


def told(message: str, **fields: object) -> None:
    """A line in the log."""
    log.info(message, extra={"fields": fields})
