"""STRATEGIES: every strategy that a job can name. Pure.

A module beside this one that has a STRATEGY is an entry: a new strategy is a new module, and nothing here changes.
"""

import importlib
import pkgutil
from collections.abc import Iterator, Mapping

from fedcore import strategies
from fedcore.strategies.strategy import Strategy


def _found() -> Iterator[Strategy]:
    for entry in pkgutil.iter_modules(strategies.__path__, f"{strategies.__name__}."):
        if entry.name != __name__:
            found = getattr(importlib.import_module(entry.name), "STRATEGY", None)
            if isinstance(found, Strategy):
                yield found


STRATEGIES: Mapping[str, Strategy] = {strategy.name: strategy for strategy in _found()}
