"""`status.anomalies` of a job: a pure function of the state. Called by status.py."""

from fedaggregator.timetext import time_text
from fedapi.crd.anomalies import MAX_SUSPENDED, AnomaliesStatus, AnomalyStatus, SuspendedSite
from fedapi.crd.anomaly_rollback import MAX_TOLD, AnomalyRollbackStatus
from fedcore.anomalies.record import Noted
from fedcore.rounds.anomalies import incomparable
from fedcore.rounds.returns import Undone
from fedcore.rounds.state import State

_SHOWN = 20  # rounds in a text


def anomalies(state: State) -> AnomaliesStatus | None:
    """What the records of the rounds say, where anomalies are looked for."""
    if state.config.anomalies is None:
        return None
    known, suspended = state.known_anomalies, sorted(state.roster.suspended)
    return AnomaliesStatus(
        total=known.total,
        recent=[_anomaly(noted) for noted in known.recent],
        suspended=[SuspendedSite(name=name, round=known.suspended[name].round) for name in suspended][:MAX_SUSPENDED],
        suspended_total=len(suspended),
        rollbacks=[told for each in state.undone[::-1] if (told := _rollback(each)) is not None][:MAX_TOLD],
        message=incomparable(state.tip),
    )


def _anomaly(noted: Noted) -> AnomalyStatus:
    anomaly = noted.anomaly
    return AnomalyStatus(
        client=anomaly.client,
        round=noted.round,
        attempt=anomaly.attempt,
        action=anomaly.action,
        reasons=[fact.kind for fact in anomaly.facts],
        message=anomaly.text[:1024],
        time=time_text(noted.at),
    )


def _rollback(undone: Undone) -> AnomalyRollbackStatus | None:
    """None: no commit records it yet."""
    told = undone.undoing
    if undone.commit is None or undone.at is None:
        return None
    return AnomalyRollbackStatus(
        result="Refused" if told.refused else "Done",
        cause=told.cause,
        client=told.client or None,
        round=told.round,
        to=told.to,
        undone=len(told.rounds),
        committed=undone.commit,
        message=_text(undone)[:1024],
        time=time_text(undone.at),
    )


def _text(undone: Undone) -> str:
    told = undone.undoing
    if told.cause == "AnomalousUpdate":
        what = f"an update of {told.client} for round {told.round} is anomalous"
    else:
        what = f"the metric of the model of round {told.round} has collapsed"
    if told.refused:
        return f"{what}, and nothing is undone: {told.refused}"
    named = ", ".join(map(str, told.rounds[:_SHOWN])) + (" and later ones" if len(told.rounds) > _SHOWN else "")
    return f"{what}: round {undone.commit} has the model of round {told.to}, rounds {named} are undone, and {told.client} is suspended"
