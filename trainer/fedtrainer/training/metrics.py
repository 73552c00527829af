"""Metrics as they may be sent: names and numbers within the limits of the wire. Used by loop.py and session.py.

A task may use the limit up: what Fedloom adds of its own goes only where it fits.
"""

import logging
import math
import operator
from collections.abc import Mapping
from typing import Any

from fedapi.printable import fit_for_a_name
from fedapi.wire.metrics import MAX_METRIC, MAX_METRIC_NAME, MAX_METRICS, MAX_SAMPLES
from fedtrainer.errors import TaskInvalidError

log = logging.getLogger(__name__)

LONGEST_SHOWN = 200  # characters of a wrong value in a message


def number(name: str, value: Any) -> float:
    """A metric's value as a number. TaskInvalidError names the metric when it is none."""
    try:
        return float(value)
    except Exception as error:
        raise TaskInvalidError(
            f"metric {name!r} is {_shown(value)}, a {type(value).__name__}: return a number, for example "
            "tensor.mean().item()"
        ) from error


def steps(value: Any, what: str) -> int | None:
    """A count of optimizer steps, where the task tells it."""
    return None if value is None else _count("steps", value, what)


def samples(value: Any, what: str) -> int:
    """A count of samples as an integer: of numpy and torch too. TaskInvalidError when it is none."""
    return _count("samples", value, what)


def _count(name: str, value: Any, what: str) -> int:
    try:
        count = operator.index(value)
    except Exception as error:
        raise TaskInvalidError(
            f"{what}: {name} is {_shown(value)}, a {type(value).__name__}: give a whole number, for example len(data)"
        ) from error
    if not 0 <= count <= MAX_SAMPLES:
        raise TaskInvalidError(f"{what}: {name} is {_shown(count)}: it must be from 0 to {MAX_SAMPLES}")
    return count


def with_extras(own: Mapping[str, Any], extras: Mapping[str, Any]) -> dict[str, Any]:
    """The task's own metrics, then those of the extras that fit: a free name, not too long, within the limit."""
    fitting = {name: value for name, value in extras.items() if name not in own and len(name) <= MAX_METRIC_NAME}
    return {**own, **dict(list(fitting.items())[: max(0, MAX_METRICS - len(own))])}


def checked(metrics: Any, what: str) -> dict[str, float]:
    """Numbers by name, within the limits; values that are not finite, or huge, are left out. TaskInvalidError says what is wrong."""
    if not isinstance(metrics, Mapping):
        raise TaskInvalidError(
            f"{what} returned metrics that are a {type(metrics).__name__}: use a dict of name and number"
        )
    if len(metrics) > MAX_METRICS:
        raise TaskInvalidError(f"{what} returned {len(metrics)} metrics: return at most {MAX_METRICS}")
    values = {str(name): number(str(name), value) for name, value in metrics.items()}
    for name, value in values.items():
        if not 1 <= len(name) <= MAX_METRIC_NAME:
            raise TaskInvalidError(
                f"{what}: the name {name!r} of a metric has {len(name)} characters: 1 to {MAX_METRIC_NAME} may be"
            )
        if not fit_for_a_name(name):
            raise TaskInvalidError(
                f"{what}: {name!r} is no name of a metric: use visible characters, no spaces around them"
            )
        if not _fits(value):
            log.warning("%s: metric %s is %s and is left out", what, name, value)
    return {name: value for name, value in values.items() if _fits(value)}


def _fits(value: float) -> bool:
    return math.isfinite(value) and abs(value) <= MAX_METRIC


def _shown(value: object) -> str:
    try:
        return repr(value)[:LONGEST_SHOWN]
    except Exception:  # noqa: BLE001 - the user's own __repr__
        return "something without a repr"
