"""Which rounds are in a model, where a job went back to an earlier one: the line of a commit. Pure.

A rollback is a commit like any other, so the chain of commits only grows; what is in its last model is a line through it.
Called by committing, evaluation, rollback and recovery, and by who reads the chain of commits from its newest end.
"""

from collections.abc import Iterable, Iterator, Sequence

from fedapi.wire.commit import CommitRecord
from fedcore.rounds.state import Kept, State


def line(history: Sequence[Kept]) -> frozenset[int] | None:
    """The rounds in the last model, that of round 0 included; None: all of them."""
    if all(entry.rolled_back_to is None for entry in history):
        return None
    found, at = set[int](), len(history) - 1
    while at >= 0:
        back = history[at].rolled_back_to
        found |= {at} if back is None else set()
        at = at - 1 if back is None else back
    return frozenset(found)


def marked(commits: Iterable[CommitRecord], round_: int) -> Iterator[tuple[CommitRecord, bool]]:
    """Commits, newest first, each with whether its updates are in the model of that round."""
    at = round_
    for commit in commits:
        is_on = commit.round == at
        if is_on:
            at = commit.round - 1 if commit.rolled_back_to is None else commit.rolled_back_to
        yield commit, is_on and commit.rolled_back_to is None


def steps(state: State, after: int, to: int) -> int:
    """How many rounds after one and up to another are in the tip's model."""
    return to - after if state.line is None else sum(1 for round_ in state.line if after < round_ <= to)


def last_round(state: State) -> int:
    """The number of the last round: spec.rounds, and one more for each that was given up, and for each rollback."""
    tip = state.tip.round if state.tip else 0
    return state.config.rounds + tip - steps(state, 0, tip)
