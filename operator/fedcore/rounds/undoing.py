"""Going back behind an anomaly, by a new commit: action RollBack of spec.anomalies. Pure; called by machine between two rounds.

An anomaly is decided once, and the commit that follows records it. Whose update was anomalous is selected no more, so that rounds
that are made again are made without it; where nobody can be left out, nothing is undone. After spec.rollbackTo acted, who set it
has decided of all anomalies before. What was spent, privacy with it, stays spent.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from fedapi.wire.anomalies import Anomaly, Cause, Fact, MetricCollapse, RollbackSettings, Undoing
from fedapi.wire.job import RollbackTo
from fedcore.anomalies import collapse
from fedcore.anomalies.collapse import Collapse, Measure, Suspect
from fedcore.rounds import evaluation, rollback
from fedcore.rounds.effects import Effect, FindRound
from fedcore.rounds.events import RoundFound, RoundLost
from fedcore.rounds.returns import Seeking, Undone
from fedcore.rounds.state import Phase, State

_LONGEST = 900  # characters of a reason in a record
_BETWEEN = (Phase.WAITING, Phase.EVALUATING)  # of rounds, and after the last


@dataclass(frozen=True)
class Wish:
    """Anomalies that are not decided, and the round to go back to for all of them."""

    to: int
    undoings: tuple[Undoing, ...]
    suspects: tuple[Anomaly, ...] = ()  # who is selected no more from now on


def due(state: State, now: float) -> tuple[State, tuple[Effect, ...]]:
    """What anomalies ask for now: to look, to commit, or nothing, because all are decided."""
    wish = _wish(state, now)
    if wish is None:
        return (state if state.undoing is None else replace(state, undoing=None)), ()
    if refused := _refused(state, wish):
        return _with_refusal(state, wish, refused), ()
    asked = RollbackTo(round=wish.to)
    if state.undoing is None or state.undoing.asked != asked:
        return replace(state, undoing=Seeking(asked)), (FindRound(asked),)
    if state.undoing.commit is None:
        return state, ()
    return rollback.gone_back(state, state.undoing, state.undoing.commit, now, wish.undoings, wish.suspects)


def is_awaited(state: State) -> bool:
    """Whether no round is planned, and the job does not end, because it is about to go back."""
    return state.undoing is not None


def answered(state: State, event: RoundFound | RoundLost, now: float) -> State:
    """The state that knows whether the round can be gone back to."""
    if state.undoing is None or state.undoing.asked != event.asked:
        return state
    if isinstance(event, RoundFound):
        return replace(state, undoing=Seeking(event.asked, event.commit, event.made))
    wish = _wish(state, now)
    if wish is None or wish.to != event.asked.round:
        return replace(state, undoing=None)
    return _with_refusal(state, wish, event.message)


def _wish(state: State, now: float) -> Wish | None:
    settings = state.config.anomalies.rollback if state.config.anomalies else None
    if settings is None or state.tip is None or state.end is not None or state.phase not in _BETWEEN:
        return None
    found = [*_of_updates(state, settings)]
    fallen = _fallen(state, settings.collapse, now) if settings.collapse else None
    suspects: tuple[Anomaly, ...] = ()
    if fallen is not None and settings.collapse is not None:
        fell, by = fallen
        if by is not None:
            suspects = (_suspected(fell, by, settings.collapse),)
        if by is not None or not found:  # else what is undone for others may undo the collapse, too
            found.append(_undoing(state, "MetricCollapsed", fell.round, by.client if by else "", fell.good))
    return Wish(min(each.to or 0 for each in found), tuple(found), suspects) if found else None


def _of_updates(state: State, settings: RollbackSettings) -> Iterator[Undoing]:
    """Sites that are suspended, and have updates in the last rounds of the model."""
    window = frozenset(_line(state)[-settings.lookback_rounds :]) - {0}
    known, since = state.known_anomalies.suspended, _decided_by_user(state)
    for client in sorted(state.roster.suspended):
        noted, mine = known[client], window.intersection(state.site(client).part.rounds)
        if not mine or noted.anomaly.action != "RollBack" or noted.anomaly.is_suspect or noted.round <= since:
            continue
        undoing = _undoing(state, "AnomalousUpdate", noted.round, client, _before(state, min(mine)))
        if not _is_decided(state, undoing):
            yield undoing


def _fallen(state: State, settings: MetricCollapse, now: float) -> tuple[Collapse, Suspect | None] | None:
    """The newest measured model, where it has collapsed and that is not decided; and who is suspected."""
    fell = collapse.collapsed(settings, _measures(state, settings.metric, now))
    if fell is None or fell.round <= _decided_by_user(state):
        return None
    if _is_decided(state, Undoing(cause="MetricCollapsed", round=fell.round)):
        return None
    norms: dict[int, dict[str, float]] = {round_: {} for round_ in _line(state) if fell.good < round_ <= fell.round}
    for client, site in state.sites.items():
        for round_, norm in site.part.norms:
            if round_ in norms:
                norms[round_][client] = norm
    return fell, collapse.suspect(settings, norms, state.config.strategy.root)


def _measures(state: State, metric: str, now: float) -> list[Measure]:
    """Of the rounds in the model; of the last one's own when nobody will measure it any more."""
    is_over = state.phase is Phase.EVALUATING and evaluation.is_measured(state, now)
    scores = evaluation.measured(state) if is_over else evaluation.counting(state)
    return [(score.round, score.metrics[metric]) for score in scores if metric in score.metrics]


def _suspected(fell: Collapse, by: Suspect, settings: MetricCollapse) -> Anomaly:
    facts = (
        Fact(
            kind="MetricCollapsed",
            value=float(f"{fell.value:.6g}"),
            limit=float(f"{fell.limit:.6g}"),
            metric=settings.metric,
        ),
        Fact(kind="NormAboveOthers", value=float(f"{by.times:.6g}"), limit=settings.suspect_factor),
    )
    return Anomaly(client=by.client, attempt=1, action="RollBack", norm=by.norm, facts=facts)


def _refused(state: State, wish: Wish) -> str:
    """Why nothing is undone, as far as the state tells; empty where it is."""
    settings = state.config.anomalies.rollback if state.config.anomalies else None
    if any(not each.client for each in wish.undoings):
        return (
            "no update stands out, so that nobody can be left out, and the same sites would make the same again: "
            "`fedloom history` has the lengths; pause a site and set spec.rollbackTo"
        )
    done = {each.commit for each in state.undone if not each.undoing.refused}
    if settings is not None and len(done) >= settings.max_rollbacks:
        return f"the job went back {len(done)} times (spec.anomalies.rollBack.maxRollbacks): set spec.rollbackTo to do so by hand"
    return rollback.not_kept(state, wish.to)


def _with_refusal(state: State, wish: Wish, refused: str) -> State:
    told = tuple(
        Undone(each.model_copy(update={"rounds": (), "refused": refused[:_LONGEST]})) for each in wish.undoings
    )
    return replace(state, undone=(*state.undone, *told), undoing=None)


def _undoing(state: State, cause: Cause, round_: int, client: str, to: int) -> Undoing:
    rounds = tuple(each for each in _line(state) if each > to)
    return Undoing(cause=cause, round=round_, client=client, to=to, rounds=rounds)


def _is_decided(state: State, undoing: Undoing) -> bool:
    return any(each.undoing.key == undoing.key for each in state.undone)


def _decided_by_user(state: State) -> int:
    """The round of the last commit that spec.rollbackTo made; -1 without any."""
    return max((each.commit for each in state.decided if each.commit is not None and not each.refused), default=-1)


def _line(state: State) -> list[int]:
    """The rounds in the model, oldest first."""
    return sorted(range(len(state.history)) if state.line is None else state.line)


def _before(state: State, round_: int) -> int:
    return max(each for each in _line(state) if each < round_)
