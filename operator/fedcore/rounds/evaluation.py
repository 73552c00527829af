"""Metrics of a model over all sites, the metric that counts, the best round and the stop rule. Pure.

Called by committing and by the status builder. Sums run over sites in name order: same reports, same bits.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from fedapi.wire.job import StopRule
from fedapi.wire.message import MAX_EXACT
from fedapi.wire.metrics import MAX_METRICS, Metrics
from fedapi.wire.site import EvaluationReport
from fedapi.wire.store import EvaluationRecord
from fedcore.rounds import heldout
from fedcore.rounds.state import Score, State

PREFERRED = "accuracy"
LESS_IS_BETTER = ("loss", "error", "mse", "mae", "rmse", "perplexity")
Goal = Literal["Maximize", "Minimize"]


def weighted_mean(parts: Iterable[tuple[int, Metrics]]) -> dict[str, float]:
    """Mean of each metric weighted by samples, over the parts that have it; parts without samples are left out.

    Records hold finite numbers and so many metrics: a mean that overflows is left out, and so are the metrics that the
    fewest parts have.
    """
    sums: dict[str, float] = {}
    weights: dict[str, int] = {}
    sites: Counter[str] = Counter()
    for samples, metrics in parts:
        for name, value in metrics.items() if samples > 0 else ():
            sums[name] = sums.get(name, 0.0) + samples * value
            weights[name] = weights.get(name, 0) + samples
            sites[name] += 1
    means = {name: sums[name] / weights[name] for name in sums}
    finite = sorted((name for name in means if math.isfinite(means[name])), key=lambda name: (-sites[name], name))
    return {name: means[name] for name in sorted(finite[:MAX_METRICS])}


def total(samples: Iterable[int]) -> int:
    """Sum of samples, at most what a JSON number holds exactly."""
    return min(sum(samples), MAX_EXACT)


def counted(state: State) -> dict[str, EvaluationReport]:
    """The reports that count, by site in name order: of sites that were paused or removed since, none does."""
    return {client: state.reports[client] for client in sorted(state.roster.eligible & state.reports.keys())}


def final(state: State) -> EvaluationRecord | None:
    """The evaluation of the tip's model as it is stored."""
    measured = record(state)
    return measured.sealed() if measured else None


def record(state: State) -> EvaluationRecord | None:
    """The evaluation of the tip's model from the reports so far; None without any."""
    reports = counted(state)
    if state.tip is None or not reports:
        return None
    return EvaluationRecord(
        job_uid=state.config.uid,
        round=state.tip.round,
        model_sha256=state.tip.model.sha256,
        metrics=weighted_mean((r.samples, r.metrics) for r in reports.values()),
        samples=total(r.samples for r in reports.values()),
        clients={client: r.metrics for client, r in reports.items()},
        client_samples={client: r.samples for client, r in reports.items()},
        held_out_missing=tuple(sorted(heldout.due(state) - heldout.done(state))),
    )


def is_measured(state: State, now: float) -> bool:
    """Whether the evaluate-only step after the last round waits for nobody any more."""
    if state.closing is None:
        return False
    waiting = state.closing.expected - state.reports.keys() - state.excused - heldout.done(state)
    return not waiting & (state.roster.eligible | state.roster.held_out) or now >= state.closing.until


def scored(scores: tuple[Score, ...], evaluation: EvaluationRecord | None) -> tuple[Score, ...]:
    """The scores with that of an evaluation; one without metrics (no site has test data) says nothing."""
    if evaluation is None or not evaluation.metrics:
        return scores
    return (*scores, Score(evaluation.round, evaluation.metrics, evaluation.model_sha256))


def counting(state: State) -> tuple[Score, ...]:
    """Scores of the rounds that are in the last model; those that were given up by a rollback are no measure any more."""
    return state.scores if state.line is None else tuple(s for s in state.scores if s.round in state.line)


def measured(state: State) -> tuple[Score, ...]:
    """Scores of earlier rounds that count and, where sites have reported, of the last model."""
    now = record(state)
    earlier = tuple(s for s in counting(state) if now is None or s.round != now.round)
    return scored(earlier, now)


def settled(state: State) -> tuple[Score, ...]:
    """What may be shown: a mean over a part of the sites would jump about until the last one has reported."""
    if state.closing is not None:
        expected = frozenset(state.closing.expected) - state.excused
    elif state.current is not None:
        expected = frozenset(state.current.plan.selected) - state.current.failed.keys()
    else:
        return measured(state)
    awaited = expected & state.roster.eligible
    return measured(state) if awaited <= state.reports.keys() else counting(state)


def headline(stop: StopRule | None, names: Iterable[str]) -> str | None:
    """The metric that counts: that of the stop rule, else accuracy, else the first by name."""
    known = sorted(names)
    if stop is not None and stop.metric in known:
        return stop.metric
    return PREFERRED if PREFERRED in known else next(iter(known), None)


def goal(stop: StopRule | None, metric: str) -> Goal:
    """Whether more or less of a metric is better; by its name when no rule says so."""
    if stop is not None and stop.metric == metric:
        return stop.goal
    return "Minimize" if metric.lower().endswith(LESS_IS_BETTER) else "Maximize"


@dataclass(frozen=True)
class Best:
    """The best evaluated round."""

    round: int
    metric: str
    value: float
    model_sha256: str


def best(stop: StopRule | None, scores: Sequence[Score]) -> Best | None:
    """The best round by the headline metric; of equal ones the earliest."""
    known = [score_ for score_ in scores if score_.metrics]
    metric = headline(stop, known[-1].metrics) if known else None
    found = None
    for score_ in known if metric else ():
        value = score_.metrics.get(str(metric))
        if value is not None and (found is None or better(goal(stop, found.metric), value, found.value)):
            found = Best(score_.round, str(metric), value, score_.model_sha256)
    return found


def better(goal_: Goal, value: float, than: float) -> bool:
    """Whether a value is strictly better than another."""
    return value > than if goal_ == "Maximize" else value < than


def stop_reason(
    stop: StopRule | None, scores: Sequence[Score], steps: Callable[[int, int], int] = lambda after, to: to - after
) -> tuple[str, str] | None:
    """Why training ends before the last round: (reason, message); None to go on. `steps`: rounds after one up to another."""
    values = [(s.round, s.metrics[stop.metric]) for s in scores if stop.metric in s.metrics] if stop else []
    if stop is None or not values:
        return None
    last_round, last = values[-1]
    if stop.target is not None and (last == stop.target or better(stop.goal, last, stop.target)):
        return "TargetReached", f"{stop.metric} {last:.6g} of round {last_round} reached the target {stop.target:.6g}"
    best_round = _best_round(stop.goal, values)
    if stop.patience is not None and steps(best_round, last_round) >= stop.patience:
        return "NoImprovement", f"{stop.metric} has not improved since round {best_round} (patience {stop.patience})"
    return None


def _best_round(goal_: Goal, values: Sequence[tuple[int, float]]) -> int:
    best_round, best_value = values[0]
    for round_, value in values[1:]:
        if better(goal_, value, best_value):
            best_round, best_value = round_, value
    return best_round
