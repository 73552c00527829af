"""STRATEGIES: every strategy that a job can name. Pure.

A module beside this one that has a STRATEGY is an entry: a new strategy is a new module, and nothing here changes.
"""

import importlib
import pkgutil
from collections.abc import Iterator, Mapping

from fedapi.wire.job import StrategySettings
from fedapi.wire.message import UPGRADE
from fedcore import strategies
from fedcore.strategies.folding import Rules
from fedcore.strategies.strategy import Strategy


class UnknownStrategyError(ValueError):
    """A strategy, or numbers for one, of another version: what would be made with what is known here has other bits."""


def _found() -> Iterator[Strategy]:
    for entry in pkgutil.iter_modules(strategies.__path__, f"{strategies.__name__}."):
        if entry.name != __name__:
            found = getattr(importlib.import_module(entry.name), "STRATEGY", None)
            if isinstance(found, Strategy):
                yield found


STRATEGIES: Mapping[str, Strategy] = {strategy.name: strategy for strategy in _found()}


def rules(settings: StrategySettings) -> Rules:
    """The strategy that a configuration or a plan names. UnknownStrategyError where this version has none such."""
    strategy, given = STRATEGIES.get(settings.name), settings.parameters.keys()
    if strategy is None:
        known = ", ".join(sorted(STRATEGIES))
        raise UnknownStrategyError(f"strategy {settings.name!r} is none of this version's ({known}): {UPGRADE}")
    if given != strategy.parameters:
        theirs, ours = (", ".join(sorted(names)) or "no numbers" for names in (given, strategy.parameters))
        raise UnknownStrategyError(
            f"strategy {strategy.name} is given {theirs}, this version's takes {ours}: {UPGRADE}"
        )
    return Rules(strategy, settings.parameters)
