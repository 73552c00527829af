"""A round of a strategy over plain arrays, by the same pure functions as the engine's fold. Used by the tests here."""

from dataclasses import replace

import numpy as np

from fedapi.wire.strategy import PreAggregation, StrategySettings
from fedapi.wire.training import TrainingSettings
from fedcore.strategies.folding import folded
from fedcore.strategies.strategy import Cohort, Update
from fedcore.strategies.table import rules
from fedcore.strategies.weighing import needs_gram, weighed
from fedcore.tensors import gram
from fedcore.tensors.arithmetic import Accumulator

DTYPES = {np.dtype("f4"): "F32", np.dtype("f8"): "F64", np.dtype("i8"): "I64", np.dtype("u1"): "U8"}


class Round:
    """Updates of a round, as rows of an array of parameters, and what a strategy makes of them."""

    def __init__(
        self,
        name,
        updates,
        *,
        samples=None,
        steps=None,
        pre=None,
        root="",
        training=None,
        seed=0,
        clients=None,
        **parameters,
    ):
        settings = StrategySettings(
            name=name, parameters=parameters, pre_aggregation=pre and PreAggregation(**pre), root=root
        )
        self.updates = np.asarray(updates)
        count = len(self.updates)
        products = np.zeros((count, count))
        gram.added(products, self.updates)
        chosen = rules(settings)
        told = zip(samples or [1] * count, steps or [None] * count, clients or map(str, range(count)), strict=True)
        cohort = Cohort(
            tuple(Update(n, k, client) for n, k, client in told),
            products if needs_gram(chosen) else None,
            training or TrainingSettings(),
            seed,
            root,
        )
        self.weights, found = None, weighed(chosen, cohort)
        self.weights = found.weights
        self.rules = replace(chosen, groups=found.groups)

    def made(self, base=None, memory=None, *, updates=None, parameters=True):
        """The new items and the new memory, of these or other updates of the same sites."""
        rows = self.updates if updates is None else np.asarray(updates)
        base = np.zeros(rows.shape[1], rows.dtype) if base is None else base
        strategy = self.rules.strategy
        if memory is None and parameters:
            memory = np.empty((base.size, strategy.memory), base.dtype)
            memory[...] = strategy.start(self.rules.parameters)
        kinds = [weight.parameters if parameters else weight.others for weight in self.weights]
        terms = [(weight, row.copy()) for weight, row in zip(kinds, rows, strict=True) if weight]
        dtype = DTYPES[base.dtype]
        accumulator = Accumulator.of(dtype, base.size) if dtype in ("F32", "F64") else Accumulator.of("F64", base.size)
        new, memory = folded(self.rules, dtype, base.copy(), terms, accumulator, memory if parameters else None)
        return new.copy(), memory


def aggregated(name, updates, **given):
    """What a strategy adds to a model of zeros."""
    return Round(name, updates, **given).made()[0]
