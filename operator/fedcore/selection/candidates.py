"""What a policy is given: the sites that may take part, with what is known of each, and the draw that is to be made. Pure.

Made by fedcore.rounds.planning. Lots are SHA-256 of the job's seed and what they are for, not a generator whose algorithm
could change under us; they are whole numbers, so that no rounding decides.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from fedapi.wire.seeds import derived

LOTS = 1 << 63  # a lot is below this


@dataclass(frozen=True)
class Candidate:
    """A site that may take part in a round."""

    name: str
    stratum: str = ""
    turn: int = 0  # the round of its last turn; 0: it had none
    last_round: int = 0  # whose commit has its update
    training_s: tuple[float, ...] = ()  # of its last committed updates, newest first
    missed: int = 0  # how often it was selected in vain since then
    missed_round: int = 0  # when, the last time
    missed_s: float = 0.0  # how long those rounds were open, at most


@dataclass(frozen=True)
class Draw:
    """What is drawn."""

    seed: int
    round: int
    attempt: int
    count: int  # sites that are asked; a policy that draws each by itself does not look at it
    least: int = 1  # the fewest with which the round can succeed
    deadline_s: float = 3600.0
    fraction: float | None = None

    def lot(self, purpose: str, name: str) -> int:
        """A site's lot, from 0 and below LOTS: another one for each round, attempt and purpose."""
        return derived(self.seed, purpose, self.round, self.attempt, name)


Policy = Callable[[Sequence[Candidate], Draw], Iterable[Candidate]]  # the candidates are in the order of their names


def by_lot(candidates: Iterable[Candidate], draw: Draw) -> list[Candidate]:
    """In a random order."""
    return sorted(candidates, key=lambda each: (draw.lot("selection", each.name), each.name))
