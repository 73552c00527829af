"""Ways back to an earlier model, asked for by spec.rollbackTo or by an anomaly, and what became of them. Pure; a part of the state."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fedapi.wire.anomalies import Undoing
from fedapi.wire.commit import CommitRecord
from fedapi.wire.job import RollbackTo
from fedcore.rounds.sites import Contribution


@dataclass(frozen=True)
class Decided:
    """A value of spec.rollbackTo, and what became of it."""

    asked: RollbackTo
    refused: str = ""  # why nothing was done
    commit: int | None = None  # the round that did it, or that recorded the refusal; None: not recorded yet


@dataclass(frozen=True)
class Undone:
    """An anomaly that rounds were to be undone for, and what became of it."""

    undoing: Undoing
    commit: int | None = None  # the round that records it, and did it where it is not refused; None: not recorded yet
    at: float | None = None  # when that was


@dataclass(frozen=True)
class Seeking:
    """A value of spec.rollbackTo, or what an anomaly asks for, that is being carried out."""

    asked: RollbackTo
    commit: CommitRecord | None = None  # of that round, once its model was seen whole; without who took part
    made: Mapping[str, Contribution] = field(default_factory=dict)  # each site's last update in that model
