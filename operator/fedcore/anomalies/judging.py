"""Which updates of a round are anomalous, and why: an ordered list of small facts over what was measured of them. Pure.

An update is compared with the others of its round by their median, which less than half of them cannot move, and with what is
usual of its site. Fewer than three cannot be compared with each other: of two that differ nobody can say which is wrong.
Called by the engine before it folds, and again, with the same result, where it has to fold again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TypeVar

from fedapi.wire.anomalies import AnomalySettings, Fact
from fedcore.anomalies import directions
from fedcore.anomalies.lengths import Lengths
from fedcore.tensors.arithmetic import Array

LEAST = 3  # updates that can be compared with each other, and lengths of which one can say what is usual
_FLOOR = 0.05  # of the others' whole length: a tensor that they hardly move is compared with so much
_MOST = 1e300  # times: records hold no infinity
_EXACT = 1 - 1e-6  # ten times in float32 is ten times


@dataclass(frozen=True)
class Measured:
    """What is known of the updates of a round."""

    clients: tuple[str, ...]
    lengths: Lengths
    usual: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  # lengths of the site's updates before
    gram: Array | None = None  # inner products, where directions are looked at
    root: str = ""  # the client that a strategy trusts: it is compared with, and not judged


@dataclass(frozen=True)
class Cohort:
    """The same, as facts look at it."""

    settings: AnomalySettings
    measured: Measured
    norms: tuple[float, ...]

    @property
    def is_comparable(self) -> bool:
        """Whether updates can be compared with each other."""
        return len(self.norms) >= LEAST


T = TypeVar("T")
_Fact = Callable[[Cohort, int], Fact | None]


def above_others(cohort: Cohort, at: int) -> Fact | None:
    """Longer than the others by a factor."""
    if not cohort.is_comparable:
        return None
    middle = median(_others(cohort.norms, at))
    return _above("NormAboveOthers", cohort.norms[at], middle, cohort.settings.norm_factor)


def above_own(cohort: Cohort, at: int) -> Fact | None:
    """Longer than is usual of the site, by a factor, and by that much more than the others are longer than is usual of them."""
    grown = [_growth(cohort, each) for each in range(len(cohort.norms))]
    mine, others = grown[at], [each for each in _others(grown, at) if each is not None]
    if mine is None:
        return None
    return _above("NormAboveOwn", mine, max(1.0, median(others)) if others else 1.0, cohort.settings.own_factor)


def layer_above_others(cohort: Cohort, at: int) -> Fact | None:
    """A tensor that is longer than the others' by a factor, where the whole update is not."""
    if not cohort.is_comparable or above_others(cohort, at) is not None:
        return None
    lengths, found = cohort.measured.lengths, list[Fact]()
    floor = _FLOOR * median(_others(cohort.norms, at))
    for number, layer in enumerate(lengths.layers):
        row = lengths.of_layer(number)
        middle = max(median(_others(row, at)), floor)
        fact = _above("LayerAboveOthers", row[at], middle, cohort.settings.layer_factor)
        found += [fact.model_copy(update={"layer": layer})] if fact else []
    return max(found, key=lambda fact: fact.value, default=None)


FACTS: tuple[_Fact, ...] = (above_others, above_own, layer_above_others)


def anomalous(settings: AnomalySettings, measured: Measured) -> dict[str, tuple[Fact, ...]]:
    """The anomalous updates by their sites, in the order of the round, each with what is anomalous about it."""
    cohort = Cohort(settings, measured, measured.lengths.norms)
    judged = [at for at, client in enumerate(measured.clients) if client != measured.root]
    found = {at: facts for at in judged if (facts := tuple(_facts(cohort, at)))}
    if settings.min_cosine is not None and measured.gram is not None and cohort.is_comparable:
        against = directions.against(measured.gram, settings.min_cosine, judged, frozenset(found))
        for at, cosine in against.items():
            found[at] = (Fact(kind="AgainstOthers", value=cosine, limit=settings.min_cosine),)
    return {measured.clients[at]: found[at] for at in sorted(found)}


def _facts(cohort: Cohort, at: int) -> Iterator[Fact]:
    return (fact for each in FACTS if (fact := each(cohort, at)) is not None)


def _growth(cohort: Cohort, at: int) -> float | None:
    """How many times longer than is usual of its site; None where that is not known yet."""
    usual = cohort.measured.usual.get(cohort.measured.clients[at], ())
    middle = median(usual) if len(usual) >= LEAST else 0.0
    return cohort.norms[at] / middle if middle > 0 else None


def _above(kind: str, value: float, middle: float, factor: float) -> Fact | None:
    """Where nothing is usual, nothing is above it."""
    times = min(value / middle, _MOST) if middle > 0 else 0.0
    if middle <= 0 or times < factor * _EXACT:
        return None
    return Fact.model_validate({"kind": kind, "value": float(f"{times:.6g}"), "limit": factor})


def _others(values: Sequence[T], at: int) -> list[T]:
    return [*values[:at], *values[at + 1 :]]
