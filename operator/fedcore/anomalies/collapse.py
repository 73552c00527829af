"""Whether the metric of the newest model has collapsed, and which site's update it may be because of. Pure.

Called by fedcore.rounds.undoing. A metric says nothing of sites: the suspect is whose update was the longest beside the others',
of the rounds in which it can have happened, and nobody where no update stands out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from fedapi.wire.anomalies import MetricCollapse
from fedcore.anomalies.judging import LEAST

Measure = tuple[int, float]  # a round, and the metric of its model


@dataclass(frozen=True)
class Collapse:
    """A model that is much worse than one before it."""

    round: int
    value: float
    limit: float
    good: int  # the last measured round before it


@dataclass(frozen=True)
class Suspect:
    """Whose update stands out."""

    client: str
    round: int
    norm: float
    times: float  # the median of the others'


def collapsed(settings: MetricCollapse, measures: Sequence[Measure]) -> Collapse | None:
    """Whether the newest has, and the one before it had not. Measures are of the rounds in the model, oldest first."""
    if len(measures) < 2:
        return None
    *earlier, before, newest = measures
    limit = _limit(settings, [*earlier, before])
    fell = _is_worse(settings, newest[1], limit)
    if not fell or (earlier and _is_worse(settings, before[1], _limit(settings, earlier))):
        return None
    return Collapse(newest[0], newest[1], limit, before[0])


def suspect(settings: MetricCollapse, norms: Mapping[int, Mapping[str, float]], trusted: str = "") -> Suspect | None:
    """Of rounds that have three updates or more; `norms` by round and site. `trusted`: the client that FLTrust trusts."""
    found = [
        Suspect(client, round_, norm, times)
        for round_, known in norms.items()
        if len(known) >= LEAST
        for client, norm in known.items()
        if client != trusted and (times := _times(known, client)) >= settings.suspect_factor
    ]
    return max(found, key=lambda each: (each.times, each.client), default=None)


def _times(known: Mapping[str, float], client: str) -> float:
    middle = median(norm for other, norm in known.items() if other != client)
    return known[client] / middle if middle > 0 else 0.0


def _limit(settings: MetricCollapse, measures: Sequence[Measure]) -> float:
    values = [value for _, value in measures]
    return max(values) - settings.tolerance if settings.goal == "Maximize" else min(values) + settings.tolerance


def _is_worse(settings: MetricCollapse, value: float, limit: float) -> bool:
    return value < limit if settings.goal == "Maximize" else value > limit
