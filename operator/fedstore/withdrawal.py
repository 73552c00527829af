"""What a site that withdraws has in a job, and what it takes to go on without it: found from the commits. Called by `fedloom withdraw`.

Reads only, and blocks; errors are those of history.py. Updates in rounds that the job has gone back behind are in no model
any more: they are named, and undo nothing.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from fedapi.wire.layout import Layout
from fedcore.rounds import lines
from fedstore import history
from fedstore.history import Readable


@dataclass(frozen=True)
class Contributed:
    """A site's update in a committed round."""

    round: int
    attempt: int  # of the order that it answers, as its entry in the ledger says it
    order_round: int
    payloads: Mapping[str, str]  # digests by name
    samples: int
    counts: bool  # whether it is in the last model


@dataclass(frozen=True)
class Withdrawal:
    """Of one site."""

    client: str
    updates: tuple[Contributed, ...]  # oldest first
    last_round: int
    undone: tuple[int, ...]  # rounds whose updates are in no model any more, once the job has gone back
    others: Mapping[str, int]  # updates of other sites in those, by site
    kept: bool  # whether the model to go back to is there
    sites: frozenset[str]  # all that have an update in a committed round

    @property
    def back_to(self) -> int | None:
        """The last round before the first update that is in the model; None where none is."""
        return next((each.round - 1 for each in self.updates if each.counts), None)


def withdrawal(store: Readable, layout: Layout, client: str) -> Withdrawal:
    """What that site has in the job's models."""
    found = history.read_head(store, layout)
    updates: list[Contributed] = []
    sites: set[str] = set()
    on_line: dict[int, Counter[str]] = {}
    last = found[0].round if found else -1
    for commit, counts in lines.marked(history.links(store, layout, found[0]) if found else (), last):
        if counts:
            on_line[commit.round] = Counter(each.client for each in commit.participants)
        sites.update(each.client for each in commit.participants)
        for each in commit.participants:
            if each.client == client:
                order = each.order or commit
                said = (commit.round, order.attempt, order.round, each.payloads, each.samples, counts)
                updates.append(Contributed(*said))
    updates.reverse()
    first = next((each.round for each in updates if each.counts), last + 1)
    undone = tuple(sorted(round_ for round_ in on_line if round_ >= first))
    others = sum((on_line[round_] for round_ in undone), Counter[str]())
    del others[client]
    rounds = history.committed(store, layout) if undone else []
    kept = bool(undone) and rounds[first - 1].kept
    return Withdrawal(client, tuple(updates), last, undone, others, kept, frozenset(sites))
