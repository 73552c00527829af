"""Images per second of one process, of two that know nothing of each other, of two ranks, of two under torch's DDP.

The ranks are joined by Horovod. The same CNN, batch and loop, one thread per process; the four take turns in one run, and what is compared is the
median over the turns of their ratios, so that a change of the machine's load meets all alike. Used by ring_ cases.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median

from tests.bench.ring_group import RankGroup

STEPS, TURNS, WARM = 100, 15, 30


@dataclass(frozen=True)
class Speed:
    """Medians of ratios."""

    two_to_one: float
    strangers_to_one: float  # two processes that do not talk: what the machine allows
    ring_to_ddp: float


def measured() -> Speed:
    """Starts the ranks, lets them take turns, ends them."""
    with ExitStack() as stack:
        groups = [
            RankGroup("alone", 1, stack),
            RankGroup("ring", 2, stack, collective="Horovod"),
            RankGroup("ddp", 2, stack),
            RankGroup("alone", 2, stack),
        ]
        for group in groups:
            group.ask("train", WARM)
        turns = [[max(group.ask("train", STEPS)) for group in groups] for _ in range(TURNS)]
    alone, ring, ddp, both = (median(column) / STEPS * 1000 for column in zip(*turns, strict=True))
    print(f"   ms per step: alone {alone:.2f}, two over Horovod {ring:.2f}, under DDP {ddp:.2f}, not joined {both:.2f}")
    return Speed(
        median(2 * one / two for one, two, _, _ in turns),
        median(2 * one / two for one, _, _, two in turns),
        median(other / own for _, own, other, _ in turns),
    )
