"""What sites did in committed rounds: what selection goes by, and what the status counts. Pure.

All of it is in the commits, rounds that were given up by a rollback included: who took part took part. Commits are taken in
from the oldest on as they happen, and from the newest back when a job's history is read; both give the same.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from fedapi.wire.commit import CommitRecord

RECENT = 3  # trainings of a site that are remembered
USUAL = 20  # updates of a site that are remembered with their lengths: what is usual is their median


@dataclass(frozen=True)
class Participation:
    """One site's."""

    selected: int = 0  # rounds that it was selected for
    accepted: int = 0  # of those, rounds that have its update
    last_round: int = 0  # the last that has its update
    missed: int = 0  # rounds since then that it was selected for in vain
    missed_round: int = 0  # the last round at all that it was selected for in vain
    missed_s: float = 0.0  # how long those since its last update were open, at most
    training_s: tuple[float, ...] = ()  # of its last updates, newest first
    rounds: tuple[int, ...] = ()  # the last that have its update, newest first
    norms: tuple[tuple[int, float], ...] = ()  # round and length of those that were judged and are not anomalous, too

    @property
    def last_selected(self) -> int:
        """The last round that it was selected for."""
        return max(self.last_round, self.missed_round)

    @property
    def turn(self) -> int:
        """The round of its last turn: who was selected in vain once has not had it, who was twice in a row has."""
        return self.missed_round if self.missed > 1 else self.last_round


NONE = Participation()
Known = Mapping[str, Participation]


def with_newer(known: Known, commit: CommitRecord) -> dict[str, Participation]:
    """Those of a commit after all that are known."""
    found, norms = {}, _norms(commit)
    for client, training_s in trainings(commit):
        before = known.get(client, NONE)
        found[client] = replace(
            before,
            selected=before.selected + 1,
            accepted=before.accepted + 1,
            last_round=commit.round,
            missed=0,
            missed_s=0.0,
            training_s=(training_s, *before.training_s)[:RECENT],
            rounds=(commit.round, *before.rounds)[:USUAL],
            norms=(*norms.get(client, ()), *before.norms)[:USUAL],
        )
    for client in commit.missed:
        before = known.get(client, NONE)
        found[client] = replace(in_vain(before, commit.round, open_s(commit)), selected=before.selected + 1)
    return found


def with_older(known: Known, commit: CommitRecord) -> dict[str, Participation]:
    """Those of a commit before all that are known."""
    found, norms = {}, _norms(commit)
    for client, training_s in trainings(commit):
        after = known.get(client, NONE)
        found[client] = replace(
            after,
            selected=after.selected + 1,
            accepted=after.accepted + 1,
            last_round=after.last_round or commit.round,
            training_s=(*after.training_s, training_s)[:RECENT],
            rounds=(*after.rounds, commit.round)[:USUAL],
            norms=(*after.norms, *norms.get(client, ()))[:USUAL],
        )
    for client in commit.missed:
        after = known.get(client, NONE)
        found[client] = replace(
            after,
            selected=after.selected + 1,
            missed=after.missed + (not after.last_round),
            missed_round=after.missed_round or commit.round,
            missed_s=after.missed_s if after.last_round else max(after.missed_s, open_s(commit)),
        )
    return found


def selected(commit: CommitRecord) -> tuple[str, ...]:
    """Sites that were selected for a commit's round."""
    return (*(each.client for each in commit.participants), *commit.missed)


def in_vain(before: Participation, round_: int, seconds: float) -> Participation:
    """After a round, or an attempt of one, that was open for so long without its update."""
    return replace(before, missed=before.missed + 1, missed_round=round_, missed_s=max(before.missed_s, seconds))


def trainings(commit: CommitRecord) -> Iterable[tuple[str, float]]:
    """Who took part, and how long each trained: no site for longer than the round took, whatever it says."""
    took = open_s(commit)
    return ((each.client, min(each.training_s, took)) for each in commit.participants)


def _norms(commit: CommitRecord) -> Mapping[str, tuple[tuple[int, float], ...]]:
    """The lengths of a commit's updates by which the next ones are judged."""
    out = {anomaly.client for anomaly in commit.anomalies}
    return {
        each.client: ((commit.round, each.norm),)
        for each in commit.participants
        if each.norm is not None and each.client not in out
    }


def open_s(commit: CommitRecord) -> float:
    """How long a round took, from its plan on."""
    return max(0.0, commit.committed_at - commit.planned_at)
