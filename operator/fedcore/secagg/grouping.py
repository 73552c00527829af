"""Sites in random groups, whose means are what robust rules see where single updates cannot be seen. Pure.

Each group is summed by itself under secure aggregation; its mean then stands where a site's update stood. Of so many groups a rule
bears as many malicious sites as of so many updates malicious ones, because a site spoils its own group alone. A group is
never smaller than the minimum cohort, and one that becomes so by drop-outs is in no model.
ADR 70; no round uses it yet.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from fedapi.wire.anomalies import AnomalySettings, Fact
from fedapi.wire.training import TrainingSettings
from fedcore.anomalies.judging import Measured, anomalous
from fedcore.anomalies.lengths import Lengths
from fedcore.secagg.errors import AttemptFailedError
from fedcore.secagg.keys import bound
from fedcore.strategies.strategy import Cohort, Update
from fedcore.tensors.arithmetic import Array


@dataclass(frozen=True)
class Group:
    """Sites whose updates are summed together."""

    number: int
    sites: tuple[str, ...]  # by name

    @property
    def name(self) -> str:
        """What stands in the place of a client's name."""
        return f"group {self.number}"


def dealt(sites: Iterable[str], least: int, context: bytes) -> tuple[Group, ...]:
    """As many groups as there can be with so many sites in each, of sizes that differ by one at most.

    `context`: of the attempt's terms, which the sites know, too. Who is grouped with whom follows from it, so that each site
    can deal anew and refuse a group of the hub's own making. AttemptFailedError where the sites are no group.
    """
    named = sorted(set(sites), key=lambda site: (hashlib.sha256(bound("group", context, site.encode())).digest(), site))
    count = len(named) // least
    if count == 0:
        raise AttemptFailedError(f"{len(named)} sites are below the {least} of a group")
    return tuple(Group(number, tuple(sorted(named[number::count]))) for number in range(count))


def standing(groups: Iterable[Group], survivors: Collection[str], least: int) -> tuple[Group, ...]:
    """The groups with those of their sites that have survived, where these are still enough to hide in."""
    left = (Group(group.number, tuple(site for site in group.sites if site in survivors)) for group in groups)
    return tuple(group for group in left if len(group.sites) >= least)


def borne(groups: int) -> int:
    """So many malicious sites, wherever they are, leave more than half of so many groups honest."""
    return (groups - 1) // 2


def cohort(
    groups: Iterable[Group],
    samples: Mapping[str, int],
    training: TrainingSettings,
    seed: int,
    gram: Array | None = None,
) -> Cohort:
    """The groups as a strategy weighs updates; `gram`: inner products of their means. Steps of single sites are not known."""
    updates = (Update(sum(samples[site] for site in group.sites), None, group.name) for group in groups)
    return Cohort(tuple(updates), gram, training, seed)


def judged(
    settings: AnomalySettings, groups: Iterable[Group], lengths: Lengths, gram: Array | None = None
) -> dict[Group, tuple[Fact, ...]]:
    """Groups with an anomalous mean. Groups are others in each round, so that nothing is usual of one.

    Which site of the group it is nobody can say; `lengths` are those of the means, in the order of the groups.
    """
    by_name = {group.name: group for group in groups}
    found = anomalous(settings, Measured(tuple(by_name), lengths, gram=gram))
    return {by_name[name]: facts for name, facts in found.items()}
