"""Looks for a committed round that a job is to go back to: its model, and what its strategy remembers, must be whole.

Called by the interpreter. Reads the chain of commits, one at a time, and the two objects; blocking.
"""

from collections.abc import Callable

from fedaggregator.engine import records, verified
from fedaggregator.errors import DamagedError
from fedapi.wire.job import RollbackTo
from fedapi.wire.store import CommitRecord, Head, Layout
from fedcore.rounds import lines
from fedcore.rounds.events import RoundFound, RoundLost
from fedcore.rounds.state import Contribution
from fedstore import history
from fedstore.objectstore import ObjectStore


def sought(
    store: ObjectStore, layout: Layout, head: Head, asked: RollbackTo, now: Callable[[], float]
) -> RoundFound | RoundLost:
    """The round, or what is wrong with it. StoreDamagedError when the chain is."""
    found: CommitRecord | None = None
    made: dict[str, Contribution] = {}
    with records.fatal():
        for commit, is_on in lines.marked(history.links(store, layout, head), asked.round):
            if commit.round == asked.round:
                found = commit.model_copy(update={"participants": ()})
            for participant in commit.participants if is_on else ():
                made.setdefault(participant.client, Contribution.of(commit, participant))
    if found is None:
        return RoundLost(now(), asked, f"round {asked.round} is not committed")
    try:
        for ref in (found.model, found.hub_state):
            if ref is not None:
                verified.check(store, ref)
    except DamagedError as error:
        text = f"round {asked.round} cannot be gone back to: {error}: choose another, or put it back from a backup and "
        return RoundLost(now(), asked, f"{text}ask again with another id")
    return RoundFound(now(), asked, found, made)
