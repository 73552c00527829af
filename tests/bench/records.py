"""What a job's store says about its rounds: commit records, the way the aggregator wrote them."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from fedapi.wire.commit import CommitRecord


@dataclass(frozen=True)
class Round:
    """One committed round after the first."""

    number: int
    wall_s: float  # from the commit before to this one
    training_s: float  # as the slowest site reported


def committed_at(folder: Path) -> dict[int, float]:
    """Round -> when it was committed, seconds since the epoch."""
    return {commit.round: commit.committed_at for commit in commits(folder)}


def rounds(folder: Path) -> list[Round]:
    """Committed rounds of the only job below the folder, from the second on."""
    found = commits(folder)
    return [
        Round(this.round, this.committed_at - before.committed_at, max(p.training_s for p in this.participants))
        for before, this in pairwise(found)
        if before.round >= 1
    ]


def commits(folder: Path) -> list[CommitRecord]:
    """All commits of the only job below the folder, oldest first."""
    found = {path.parent.parent.name: path for path in sorted(folder.rglob("rounds/*/e*-a*/commit.json"))}
    if not found:
        raise RuntimeError(f"no commit record below {folder}")
    return [CommitRecord.model_validate_json(found[number].read_bytes()) for number in sorted(found)]
