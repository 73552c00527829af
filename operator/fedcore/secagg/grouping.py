"""Sites in random groups, whose means are what robust rules see where single updates cannot be seen. Pure.

Each group is summed by itself under secure aggregation; its mean then stands where a site's update stood. Of so many groups a rule
bears as many malicious sites as of so many updates malicious ones, because a site spoils its own group alone. A group is
never smaller than the minimum cohort, and one that becomes so by drop-outs is in no model.
Called by agreement, so that sites and hub deal alike. ADR 75.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from fedapi.wire.secagg import Terms
from fedcore.secagg.errors import AttemptFailedError
from fedcore.secagg.keys import bound


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


def least(terms: Terms, sites: int) -> int:
    """Sites of a group of so many that must stay: of fewer the sum is never opened, and two sums cannot be."""
    return max(terms.minimum_cohort, (sites + terms.colluding) // 2 + 1)
