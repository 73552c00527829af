"""Strategies of installed packages: entry points of the group `fedloom.strategies`, each a Strategy. Pure but for looking them up.

Called by table.py. What such a strategy does wrong is told by its name and is that attempt's failure, not the aggregator's:
its functions are called through others, which check what comes back before it can become part of a file.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache, wraps
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from fedcore.strategies.strategy import (
    Absorb,
    Cohort,
    Combine,
    Integers,
    Optimize,
    Parameters,
    Strategy,
    StrategyFailedError,
    Weigh,
    Weights,
    added,
    summed,
)
from fedcore.tensors import integers
from fedcore.tensors.arithmetic import Accumulator, Array, Terms

_T = TypeVar("_T")
GROUP = "fedloom.strategies"


class NotInstalledError(LookupError):
    """No installed package has such a strategy, or what it has is none."""


@lru_cache(maxsize=32)
def strategy(name: str) -> Strategy:
    """The strategy of an entry point, guarded. NotInstalledError with the way out."""
    found = sorted(entry_points(group=GROUP, name=name), key=lambda each: each.value)
    if not found:
        known = ", ".join(sorted(each.name for each in entry_points(group=GROUP))) or "none"
        raise NotInstalledError(
            f"no package that is installed beside the aggregator has an entry point {name!r} of the group {GROUP} ({known}): "
            "build the aggregator's image with it"
        )
    if len(found) > 1:
        raise NotInstalledError(
            f"{len(found)} entry points of the group {GROUP} are named {name!r} ({', '.join(each.value for each in found)}): "
            "install one of their packages"
        )
    try:
        made = found[0].load()
    except Exception as error:  # somebody else's module: whatever it raises
        raise NotInstalledError(f"strategy {name!r} ({found[0].value}) cannot be loaded: {error!r}"[:900]) from error
    if not isinstance(made, Strategy):
        raise NotInstalledError(f"strategy {name!r} ({found[0].value}) is a {type(made).__name__}: make it a Strategy")
    return guarded(made)


def guarded(made: Strategy) -> Strategy:
    """The same, whose functions raise StrategyFailedError for whatever goes wrong in them; those of this package stay."""
    return replace(
        made,
        weights=_weighing(made.name, made.weights),
        buffers=_weighing(made.name, made.buffers) if made.buffers else None,
        combine=made.combine if made.combine is summed else _combining(made),
        optimize=made.optimize if made.optimize is added else _optimizing(made),
        absorb=_absorbing(made, made.absorb) if made.absorb else None,
        site=_told(made.name, "site", made.site),
        integers=made.integers if made.integers in (integers.averaged, integers.median) else _integers(made),
        start=_told(made.name, "start", made.start),
        least=_told(made.name, "least", made.least),
    )


def _told(name: str, what: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def called(*given: Any) -> Any:
        try:
            return function(*given)
        except Exception as error:  # somebody else's function: whatever it raises
            raise _failure(name, what, error) from error

    return called


def _failure(name: str, what: str, error: Exception) -> StrategyFailedError:
    return StrategyFailedError(f"{what} of strategy {name} failed: {error!r}"[:900])


class _Watched(Generic[_T]):
    """A stream of blocks, and what went wrong with it: that the updates cannot be read is not the strategy's failure."""

    def __init__(self, terms: Iterable[_T]) -> None:
        self._terms = iter(terms)
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[_T]:
        return self

    def __next__(self) -> _T:
        try:
            return next(self._terms)
        except StopIteration:
            raise
        except Exception as error:
            self.error = error
            raise


def _reading(name: str, what: str, function: Callable[[Iterable[_T]], Array], terms: Iterable[_T]) -> Array:
    watched = _Watched(terms)
    try:
        return function(watched)
    except Exception as error:
        if watched.error is not None:
            raise watched.error from None
        raise _failure(name, what, error) from error


def _weighing(name: str, weigh: Weigh) -> Weigh:
    def weights(cohort: Cohort, parameters: Parameters) -> Weights:
        found = tuple(Fraction(weight) for weight in weigh(cohort, parameters))
        if len(found) != len(cohort.updates):
            raise ValueError(f"{len(found)} weights for {len(cohort.updates)} updates")
        return found

    return _told(name, "weights", weights)


def _combining(made: Strategy) -> Combine:
    def combine(terms: Terms, accumulator: Accumulator, parameters: Parameters) -> Array:
        def combined(given: Terms) -> Array:
            return _like(made.combine(given, accumulator, parameters), accumulator.total)

        return _reading(made.name, "combine", combined, terms)

    return combine


def _integers(made: Strategy) -> Integers:
    def averaged(base: Array, terms: Terms) -> Array:
        return _reading(made.name, "integers", lambda given: _like(made.integers(base, given), base), terms)

    return averaged


def _absorbing(made: Strategy, absorb: Absorb) -> Absorb:
    def absorbed(memory: Array, changes: Iterable[Array], parameters: Parameters) -> Array:
        def taken(given: Iterable[Array]) -> Array:
            return _like(absorb(memory, given, parameters), memory)

        return _reading(made.name, "absorb", taken, changes)

    return absorbed


def _optimizing(made: Strategy) -> Optimize:
    def optimize(base: Array, update: Array, memory: Array, parameters: Parameters) -> tuple[Array, Array]:
        new, kept = made.optimize(base, update, memory, parameters)
        return _like(new, base), _like(kept, memory)

    return _told(made.name, "optimize", optimize)


def _like(found: Array, asked: Array) -> Array:
    """What is of the type and form that a file has room for, in one piece."""
    if (found.dtype, found.shape) != (asked.dtype, asked.shape):
        raise ValueError(f"{found.dtype}{list(found.shape)} came back, {asked.dtype}{list(asked.shape)} was asked for")
    return found if found.flags.c_contiguous else found.copy()
