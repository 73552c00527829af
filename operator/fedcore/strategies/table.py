"""STRATEGIES: every strategy that a job can name. Pure.

A module beside this one that has a STRATEGY is an entry: a new strategy is a new module, and nothing here changes. Those of
other packages are looked up when they are asked for (custom.py).
"""

import importlib
import pkgutil
from collections.abc import Iterator, Mapping

from fedapi.wire.message import UPGRADE
from fedapi.wire.strategy import CUSTOM, StrategySettings
from fedcore import strategies
from fedcore.strategies import custom
from fedcore.strategies.folding import Rules
from fedcore.strategies.strategy import Strategy, StrategyFailedError
from fedcore.strategies.weighing import least


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
    strategy, given = _named(settings.name), settings.parameters.keys()
    if given != strategy.parameters:
        theirs, ours = (", ".join(sorted(names)) or "no numbers" for names in (given, strategy.parameters))
        raise UnknownStrategyError(
            f"strategy {strategy.name} is given {theirs}, this version's takes {ours}: {UPGRADE}"
        )
    if settings.pre_aggregation is not None and not strategy.mixable:
        raise UnknownStrategyError(f"strategy {strategy.name} takes no pre-aggregation in this version: {UPGRADE}")
    if settings.sub_models and not strategy.itemwise:
        raise UnknownStrategyError(f"strategy {strategy.name} takes no sub-models in this version: {UPGRADE}")
    if bool(settings.root) != strategy.rooted:
        which = "needs a root client" if strategy.rooted else "takes no root client"
        raise UnknownStrategyError(f"strategy {strategy.name} {which} in this version: {UPGRADE}")
    if settings.fragments is not None and not strategy.divisible:
        raise UnknownStrategyError(f"strategy {strategy.name} takes no fragments in this version: {UPGRADE}")
    return Rules(strategy, settings.parameters, settings.pre_aggregation)


def _named(name: str) -> Strategy:
    if name.startswith(CUSTOM):
        try:
            return custom.strategy(name.removeprefix(CUSTOM))
        except custom.NotInstalledError as error:
            raise UnknownStrategyError(str(error)) from error
    if name not in STRATEGIES:
        known = ", ".join(sorted(STRATEGIES))
        raise UnknownStrategyError(f"strategy {name!r} is none of this version's ({known}): {UPGRADE}")
    return STRATEGIES[name]


def fewest(settings: StrategySettings) -> int:
    """Updates that a round needs by its strategy; 1 where this version has none such, which is refused elsewhere."""
    try:
        return least(rules(settings))
    except (UnknownStrategyError, StrategyFailedError):
        return 1
