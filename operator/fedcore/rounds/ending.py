"""How a job ends that has a model: with a last step, in which sites evaluate it and train nothing. Pure.

Called by committing, after the last round, and by planning, where a round turns out to be one too many.
"""

from collections.abc import Iterable
from dataclasses import replace

from fedapi.wire.commit import CommitRecord
from fedcore.rounds import heldout, signatures
from fedcore.rounds.state import Closing, End, Phase, State

EVALUATION_MIN_S, EVALUATION_TRAININGS = 60.0, 2.0  # the last step waits so long, or so many times the longest training


def evaluating(state: State, end: End, now: float) -> State:
    """The state with that step begun, after which the job ends so."""
    if state.tip is None:
        return replace(state, end=end)
    expected = state.roster.eligible.intersection(_last_participants(state, state.tip)) | heldout.at_hand(state)
    return awaiting(state, Closing(expected, now + _evaluation_s(state), end))


def awaiting(state: State, closing: Closing) -> State:
    """The state that waits for those sites' evaluations; not for who could not sign its own."""
    excused = state.excused.union(client for client in closing.expected if signatures.keyless(state, client))
    return replace(state, phase=Phase.EVALUATING, closing=closing, excused=excused)


def _last_participants(state: State, tip: CommitRecord) -> Iterable[str]:
    """Who took part in the last round that anybody took part in."""
    if not tip.skipped:
        return (each.client for each in tip.participants)
    last = max((site.part.last_round for site in state.sites.values()), default=0)
    return (client for client, site in state.sites.items() if site.part.last_round == last)


def _evaluation_s(state: State) -> float:
    """How long the last step waits. With lifetime Round the sites must get their pools first, as for a round."""
    if state.tip is None or state.config.lifetime == "Round":
        return state.config.deadline_s
    took = state.tip.committed_at - state.tip.planned_at  # no site has trained for longer, whatever it says
    longest = max((min(p.training_s, took) for p in state.tip.participants), default=0.0)
    return min(state.config.deadline_s, max(EVALUATION_MIN_S, EVALUATION_TRAININGS * longest))
