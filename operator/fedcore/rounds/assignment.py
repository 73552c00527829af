"""What a site is told when it asks. Pure; called by the long poll, which adds the URLs."""

from typing import Literal

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
    return "Evaluate" if _may_evaluate(state, client) else "Wait"


def _may_train(state: State, client: str) -> bool:
    return state.phase is Phase.COLLECTING and state.current is not None and client in state.current.pending


def _may_evaluate(state: State, client: str) -> bool:
    eligible = any(entry.name == client and entry.eligible for entry in state.config.roster)
    return state.phase is Phase.EVALUATING and eligible and client not in state.reports and client not in state.excused


def _wanted(state: State, client: str, doing: tuple[int, int]) -> bool:
    """Whether work on (round, attempt) still counts, or counted already in the attempt under way."""
    attempt = state.current
    if attempt is None or (attempt.plan.round, attempt.plan.attempt) != doing:
        return False
    names = attempt.closed if attempt.closed is not None else (*attempt.pending, *attempt.accepted)
    return client in names
