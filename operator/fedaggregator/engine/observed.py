"""Metrics and log lines of what the engine does. Called by the engine; decides nothing."""

import logging

from fedaggregator import metrics
from fedapi import names
from fedcore.rounds import planning
from fedcore.rounds.effects import Commit, Effect, WriteFailure
from fedcore.rounds.state import State

log = logging.getLogger(__name__)


def connected(state: State, now: float) -> int:
    """Sites that were heard lately."""
    heard = (site.heard_at for site in state.sites.values())
    return sum(1 for at in heard if at is not None and now - at <= names.SITE_LEASE_ACTIVE_S)


def incompatible(state: State) -> int:
    """Sites that cannot be given work."""
    return sum(1 for client in state.sites if planning.misfit(state, client))


def durable(effect: Effect) -> None:
    """An effect became durable."""
    match effect:
        case Commit(commit) if commit.rolled_back_to is not None:
            told("rolled back", round=commit.round, to=commit.rolled_back_to, model=commit.model.sha256)
        case Commit(commit):
            metrics.ROUND_SECONDS.observe(commit.committed_at - commit.planned_at)
            told("committed", round=commit.round, model=commit.model.sha256, participants=len(commit.participants))
        case WriteFailure(failure):
            metrics.ATTEMPT_FAILURES.inc()
            told("attempt failed", round=failure.round, attempt=failure.attempt, reason=failure.message)
        case _:
            told(type(effect).__name__)


def told(message: str, **fields: object) -> None:
    """A line in the log."""
    log.info(message, extra={"fields": fields})
