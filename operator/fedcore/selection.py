"""Which of the candidates take part in an attempt: same seed, round, attempt and candidates, same answer. Pure.

Called by planning. A ranking by SHA-256 is used, not a generator whose algorithm could change under us.
"""

import math
from collections.abc import Iterable

from fedapi.wire.job import JobConfig
from fedapi.wire.seeds import derived


def wanted(config: JobConfig, candidates: int) -> int:
    """How many of so many candidates the policy takes; a fraction is rounded up, at least one."""
    if config.policy == "All":
        return candidates
    if config.per_round is not None:
        return min(config.per_round, candidates)
    share = config.fraction if config.fraction is not None else 1.0
    # 1e-9 forgives 0.1 * 30 = 3.0000000000000004
    return min(candidates, max(1, math.ceil(share * candidates - 1e-9)))


def selected(config: JobConfig, candidates: Iterable[str], round_: int, attempt: int) -> tuple[str, ...]:
    """The selected sites, sorted by name: the order in which their updates are folded."""
    names = sorted(set(candidates))
    count = wanted(config, len(names))
    if count >= len(names):
        return tuple(names)
    ranked = sorted(names, key=lambda name: (derived(config.seed, "selection", round_, attempt, name), name))
    return tuple(sorted(ranked[:count]))
