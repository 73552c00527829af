"""Metrics as they may be sent: names and numbers within the limits of the wire. Used by loop.py and session.py.

A task may use the limit up: what Fedloom adds of its own goes only where it fits.
"""

import logging
import math
from collections.abc import Mapping
from typing import Any

from fedapi.printable import fit_for_a_name
from fedtrainer.errors import TaskInvalid

log = logging.getLogger(__name__)

MOST = 32  # metrics of one report
LONGEST = 63  # characters of a name


def number(name: str, value: Any) -> float:
    """A metric's value as a number. TaskInvalid names the metric when it is none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TaskInvalid(
            f"metric {name!r} is {value!r}, a {type(value).__name__}: return a number, for example tensor.mean().item()"
        ) from None


def with_extras(own: Mapping[str, Any], extras: Mapping[str, Any]) -> dict[str, Any]:
    """The task's own metrics, then those of the extras that fit: a free name, not too long, within the limit."""
    fitting = {name: value for name, value in extras.items() if name not in own and len(name) <= LONGEST}
    return {**own, **dict(list(fitting.items())[: max(0, MOST - len(own))])}


def checked(metrics: Mapping[str, object], what: str) -> dict[str, float]:
    """Numbers by name, within the limits; values that are not finite are left out. TaskInvalid says what is wrong."""
    if len(metrics) > MOST:
        raise TaskInvalid(f"{what} returned {len(metrics)} metrics: return at most {MOST}")
    values = {str(name): number(str(name), value) for name, value in metrics.items()}
    for name, value in values.items():
        if not 1 <= len(name) <= LONGEST:
            raise TaskInvalid(
                f"{what}: the name {name!r} of a metric has {len(name)} characters: 1 to {LONGEST} may be"
            )
        if not fit_for_a_name(name):
            raise TaskInvalid(f"{what}: {name!r} is no name of a metric: use visible characters, no spaces around them")
        if not math.isfinite(value):
            log.warning("%s: metric %s is %s and is left out", what, name, value)
    return {name: value for name, value in values.items() if math.isfinite(value)}
