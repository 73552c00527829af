"""Which of the candidates take part in an attempt, by the job's policy. Pure; called by planning.

Same configuration, candidates, round and attempt: same answer.
"""

import math
from collections.abc import Iterable, Mapping

from fedapi.crd.job_status import MAX_SELECTED
from fedapi.duration import quorum_count
from fedapi.wire.job import JobConfig
from fedapi.wire.secagg import Groups
from fedapi.wire.strategy import StrategySettings
from fedcore.selection import every, fair, poisson, resource_aware, stratified, uniform
from fedcore.selection.candidates import Candidate, Draw, Policy
from fedcore.strategies import table

POLICIES: Mapping[str, Policy] = {
    "All": every.chosen,
    "Random": uniform.chosen,
    "Stratified": stratified.chosen,
    "ResourceAware": resource_aware.chosen,
    "Fair": fair.chosen,
    "Poisson": poisson.chosen,
}


def wanted(config: JobConfig, candidates: int) -> int:
    """How many updates of so many candidates the round asks for; a fraction is rounded up, and none is below the quorum."""
    if config.per_round is None and config.fraction is None:
        return min(candidates, _most(config, candidates))
    share = config.fraction if config.fraction is not None else 1.0
    # 1e-9 forgives 0.1 * 30 = 3.0000000000000004
    drawn = config.per_round if config.per_round is not None else math.ceil(share * candidates - 1e-9)
    return min(candidates, _most(config, candidates), max(least(config), drawn))


def asked(config: JobConfig, candidates: int) -> int:
    """How many sites are asked for them: more, with over-selection."""
    times = config.over_selection or 1.0
    return min(candidates, _most(config, candidates), math.ceil(times * wanted(config, candidates) - 1e-9))


def least(config: JobConfig) -> int:
    """The fewest sites with which a round can succeed: a quorum that is a count, what the strategy, or a sum that alone is seen, needs."""
    return max(quorum_count(config.quorum, 1), fewest(config))


def fewest(config: JobConfig) -> int:
    """The fewest for which the strategy, and a sum that alone is seen, are defined; else one site."""
    asked = config.secure
    least = updates(config.strategy, asked.groups if asked else None)
    return least if asked is None else max(least, asked.fewest)


def updates(strategy: StrategySettings, groups: Groups | None) -> int:
    """Sites that a strategy needs: of groups, whose means it combines, as many as of updates, and those that must stay."""
    least = table.fewest(strategy)
    return least if groups is None else max(least, groups.minimum) * groups.size


def selected(config: JobConfig, candidates: Iterable[Candidate], round_: int, attempt: int) -> tuple[str, ...]:
    """The selected sites, sorted by name: the order in which their updates are folded.

    The client that the strategy trusts is one of them, whatever is drawn.
    """
    root = config.strategy.root
    sites = sorted((each for each in candidates if each.name != root), key=lambda each: each.name)
    draw = Draw(
        seed=config.seed,
        round=round_,
        attempt=attempt,
        count=asked(config, len(sites)),
        least=least(config),
        deadline_s=config.deadline_s,
        fraction=config.fraction,
    )
    drawn = sorted(each.name for each in POLICIES[config.policy](sites, draw))
    trusted = [root] if root else []
    return tuple(sorted([*drawn[: _most(config, len(drawn) + 1) - len(trusted)], *trusted]))


def rootless(config: JobConfig, candidates: Iterable[Candidate]) -> bool:
    """Whether the client that the strategy trusts is not among some sites."""
    root = config.strategy.root
    return bool(root) and all(each.name != root for each in candidates)


def _most(config: JobConfig, candidates: int) -> int:
    """With lifetime Round, Jobs are made from the list in the status, which has a bound."""
    return MAX_SELECTED if config.lifetime == "Round" else candidates
