"""A job that only evaluates (spec.rounds 0): its sites evaluate the model that it begins with, and it ends. Pure.

Called by planning, once as many sites are there as a first round waits for, and by machine in the end. It is the step that any job
has after its last round; here it is what the job is for, so all sites are asked, and quorum and deadline are a round's.
"""

from fedapi.duration import quorum_count
from fedcore.rounds import ending, heldout
from fedcore.rounds.closing import QUORUM_NOT_REACHED
from fedcore.rounds.state import Closing, End, State

_LONGEST = 1024  # characters of a message


def applies(state: State) -> bool:
    """Whether no round is asked for."""
    return state.config.rounds == 0


def begun(state: State, now: float) -> State:
    """The state in which all sites evaluate; how that ends is not known yet."""
    expected = state.roster.eligible | heldout.at_hand(state)
    return ending.awaiting(state, Closing(expected, now + state.config.deadline_s, None))


def ended(state: State, closing: Closing, now: float) -> End:
    """How it ends: by its quorum, of the sites that were asked and are not held out."""
    asked = frozenset(client for client in closing.expected if not _held_out(state, client))
    done = asked & state.reports.keys() & state.roster.eligible
    needed = quorum_count(state.config.quorum, len(asked))
    counts = f"{len(done)} of {len(asked)} sites have evaluated the model"
    if len(done) >= needed:
        return End("Succeeded", "Evaluated", counts, now)
    missing = "; ".join(f"{client}: {_why(state, client)}" for client in sorted(asked - done))
    return End("Failed", QUORUM_NOT_REACHED, f"{counts}, {needed} were needed ({missing})"[:_LONGEST], now)


def _held_out(state: State, client: str) -> bool:
    entry = state.roster.by_name.get(client)
    return entry is not None and entry.held_out


def _why(state: State, client: str) -> str:
    entry = state.roster.by_name.get(client)
    if client in state.excused:
        return state.site(client).message or "it cannot"
    if entry is None:
        return "left the job"
    return "no evaluation before the deadline" if entry.eligible else entry.reason
