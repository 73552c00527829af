"""Which of the candidates take part in an attempt: same seed, round, attempt and candidates, same answer. Pure.

Called by planning. A ranking by SHA-256 is used, not a generator whose algorithm could change under us.
"""

import math
from collections.abc import Iterable

from fedapi.crd.job_status import MAX_SELECTED
from fedapi.duration import quorum_count
from fedapi.wire.job import JobConfig
from fedapi.wire.seeds import derived


def wanted(config: JobConfig, candidates: int) -> int:
    """How many of so many candidates the policy takes; a fraction is rounded up, and no draw is below the quorum."""
    most = MAX_SELECTED if config.lifetime == "Round" else candidates  # Jobs are made from the list in the status
    if config.policy == "All":
        return min(candidates, most)
    share = config.fraction if config.fraction is not None else 1.0
    # 1e-9 forgives 0.1 * 30 = 3.0000000000000004
    drawn = config.per_round if config.per_round is not None else math.ceil(share * candidates - 1e-9)
    return min(candidates, most, max(least(config), drawn))


def least(config: JobConfig) -> int:
    """The fewest sites with which a round can succeed: a quorum that is a count, or one site."""
    return quorum_count(config.quorum, 1)


def selected(config: JobConfig, candidates: Iterable[str], round_: int, attempt: int) -> tuple[str, ...]:
    """The selected sites, sorted by name: the order in which their updates are folded."""
    names = sorted(set(candidates))
    count = wanted(config, len(names))
    if count >= len(names):
        return tuple(names)
    ranked = sorted(names, key=lambda name: (derived(config.seed, "selection", round_, attempt, name), name))
    return tuple(sorted(ranked[:count]))
