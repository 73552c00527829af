"""Anomalous updates in the life of a round: what is asked of the fold, and what follows from its judgement. Pure.

Called by closing, committing, rollback and skipping. Whom anomalies bar from new rounds is in the state's roster; which updates
are anomalous is decided in fedcore.anomalies.
"""

from dataclasses import replace

from fedapi.names import WARNING
from fedapi.wire.anomalies import Anomaly
from fedapi.wire.commit import CommitRecord
from fedcore.anomalies.judging import LEAST
from fedcore.anomalies.record import Judged
from fedcore.rounds import effort
from fedcore.rounds.attempt import Attempt
from fedcore.rounds.effects import Judging
from fedcore.rounds.state import State

_LONGEST = 1024  # characters of a text in the status


def judging(state: State, attempt: Attempt) -> Judging | None:
    """What the updates of a closed attempt are judged by; None: they are not."""
    settings = attempt.plan.anomalies
    if settings is None:
        return None
    usual = {
        client: tuple(norm for round_, norm in state.site(client).part.norms if round_ > settings.readmitted(client))
        for client in attempt.closed or ()
    }
    return Judging(settings, {client: norms for client, norms in usual.items() if norms}, attempt.quorum)


def without(attempt: Attempt, judged: Judged, now: float) -> Attempt:
    """The attempt without the updates that are left out, whose training was in vain."""
    if not judged.excluded:
        return attempt
    out = {client: attempt.accepted[client] for client in attempt.closed or () if client in judged.excluded}
    return replace(
        attempt,
        closed=tuple(client for client in attempt.closed or () if client not in out),
        lost_s=attempt.lost_s + effort.trained_s(out, max(0.0, now - attempt.plan.planned_at)),
    )


def told(state: State, judged: Judged, round_: int) -> State:
    """The state in which the sites' entries say it; an update that is left out is a failure of its site."""
    for anomaly in judged.anomalies:
        out, whose = anomaly.is_excluded, "the mean of its group in" if anomaly.sites else "its update of"
        text = f"{'refused: ' if out else WARNING}{whose} round {round_} is anomalous: {anomaly.text}"[:_LONGEST]
        for client in anomaly.owners:
            site = state.site(client)
            failed = replace(site, failures=site.failures + 1, failed_round=round_) if out else site
            state = state.with_site(client, replace(failed, message=text))
    return state


def incomparable(commit: CommitRecord | None) -> str:
    """That the last round had too few updates to compare them with each other; empty where it had not, or was not judged."""
    judged = [each for each in commit.participants if each.norm is not None] if commit else []
    out = {anomaly.client for anomaly in commit.anomalies if anomaly.is_excluded} if commit else set()
    if commit is None or not judged or len(judged) + len(out) >= LEAST:
        return ""
    return (
        f"round {commit.round} had {len(judged) + len(out)} updates: fewer than {LEAST} cannot be compared with each other, so "
        "that each was compared with its site's own before alone"
    )


def recorded(state: State, judged: Judged | None = None) -> tuple[Anomaly, ...]:
    """What the commit of the round under way says: those of its failed attempts, and of its own."""
    earlier = (anomaly for failure in state.void for anomaly in failure.anomalies)
    return (*earlier, *(judged.anomalies if judged else ()))
