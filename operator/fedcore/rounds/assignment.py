"""What a site is told when it asks, and whose answer a new state may change. Pure.

Called by the long poll, which adds the URLs, and by the engine, which wakes the polls that are held.
"""

from typing import Literal

from fedapi.wire.commit import CommitRecord
from fedcore.rounds import evaluation_requests, heldout, window
from fedcore.rounds.attempt import Attempt
from fedcore.rounds.state import Phase, State

Kind = Literal["Train", "Evaluate", "Wait", "Drop", "Done"]


def kind(state: State, client: str, doing: tuple[int, int] | None) -> Kind:
    """Train, Evaluate, Done: at once. Drop: what it does is void. Wait: nothing yet."""
    if state.phase is Phase.FINISHED:
        return "Done"
    if doing is not None and not _wanted(state, client, doing):
        return "Drop"
    if _may_train(state, client):
        return "Train" if doing is None else "Wait"
    if _may_evaluate(state, client) or heldout.wanted(state, client) or evaluation_requests.open_for(state, client):
        return "Evaluate"
    return "Wait"


def evaluated(state: State, client: str) -> CommitRecord | None:
    """The round whose model a site is told to evaluate: the last, or the one that was asked for."""
    if _may_evaluate(state, client) or heldout.wanted(state, client):
        return state.tip
    asked = evaluation_requests.open_for(state, client)
    return asked.commit if asked else None


def concerned(before: State, after: State) -> frozenset[str] | None:
    """The sites for which the wait may be over in the new state; None: all. Who only has to wait now is left out."""
    if before.phase is not after.phase or before.roster is not after.roster or before.requested is not after.requested:
        return None
    was, now = before.current, after.current
    if was is not now and (was is None or now is None or _stages(was) != _stages(now)):
        return None
    failed = was.failed.keys() ^ now.failed.keys() if was and now and was.failed is not now.failed else frozenset()
    taken = frozenset[str]()
    if window.is_asynchronous(after.config) and before.accepted is not after.accepted:
        taken = frozenset(before.accepted.keys() ^ after.accepted.keys())
    return frozenset(failed | taken | (before.excused ^ after.excused))


def _stages(attempt: Attempt) -> tuple[int, int, int, bool, tuple[str, bool] | None]:
    """What differs between two attempts, and before and after what ends or reopens one, or a step of its exchange."""
    step = (attempt.secure.step, attempt.secure.is_adding) if attempt.secure else None
    return attempt.plan.round, attempt.plan.attempt, attempt.reopened, attempt.closed is None, step


def _may_train(state: State, client: str) -> bool:
    """Whether it has an order to train; where updates are masked, until all that follows from it is over."""
    return (
        state.phase in (Phase.COLLECTING, Phase.OPENING)
        and state.current is not None
        and state.current.waits_for(client)
    )


def _may_evaluate(state: State, client: str) -> bool:
    if state.phase is not Phase.EVALUATING or client in state.reports or client in state.excused:
        return False
    return client in state.roster.eligible


def _wanted(state: State, client: str, doing: tuple[int, int]) -> bool:
    """Whether work on (round, attempt) still counts, or counted already in the attempt under way."""
    if window.is_asynchronous(state.config):
        return window.refusal(state, client, *doing) is None
    attempt = state.current
    if attempt is None or (attempt.plan.round, attempt.plan.attempt) != doing:
        return False
    if attempt.closed is not None:
        return client in attempt.closed
    return client in attempt.pending or client in attempt.accepted
