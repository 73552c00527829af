"""Means of metrics over test samples, of one rank's batches and of all ranks. Used by loop.py.

A metric is the mean over the samples that it was reported for: a batch may leave one out that it cannot tell.
"""

import json
from collections.abc import Mapping
from typing import Any

from fedtrainer.errors import TaskInvalidError
from fedtrainer.ring import operations
from fedtrainer.training.context import Context
from fedtrainer.training.metrics import number


class Means:
    """Sums and counts by name, in the order in which names came."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def add(self, metrics: Mapping[Any, Any], samples: int) -> None:
        """The means of a batch."""
        if not isinstance(metrics, Mapping):
            raise TaskInvalidError(f"metrics() returned a {type(metrics).__name__}: return a dict of name and number")
        for key, value in metrics.items():
            name = str(key)
            self._sums[name] = self._sums.get(name, 0.0) + number(name, value) * samples
            self._counts[name] = self._counts.get(name, 0) + samples

    def of_all_ranks(self, ctx: Context) -> dict[str, float]:
        """Every name that a rank has, with its mean over the samples of all. Every rank calls it."""
        told = operations.each_text(ctx.ring, json.dumps(list(self._sums)))
        names = list(dict.fromkeys(name for text in told for name in json.loads(text)))
        sums = operations.sums(ctx.ring, [self._sums.get(name, 0.0) for name in names])
        counts = operations.sums(ctx.ring, [float(self._counts.get(name, 0)) for name in names])
        return {name: total / count for name, total, count in zip(names, sums, counts, strict=True)}
