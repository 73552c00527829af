"""Bounded retries with jitter: how long and how often the trainer tries again. Used by control.py and bulk.py."""

import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from fedtrainer.errors import AggregatorLostError, TrainerError

log = logging.getLogger(__name__)
T = TypeVar("T")

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 3.0
_jitter = secrets.SystemRandom()  # tasks seed the global generator; sites must not pause in step


class RetryError(TrainerError):
    """The aggregator did not answer, or asked to be asked again."""


class SupersededError(RetryError):
    """A later question took this one's place: nobody failed to answer."""


@dataclass(frozen=True)
class Patience:
    """How long to go on trying."""

    total_s: float


def pause_s(failures: int) -> float:
    """Full jitter over a doubling interval: 0.1 s at first, 3 s at most."""
    return _jitter.uniform(0, min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(failures, 16))) + FIRST_PAUSE_S / 2


def persist(what: str, attempt: Callable[[], T], patience: Patience) -> T:
    """Calls `attempt` until it does not raise RetryError. AggregatorLostError when that takes longer than patience."""
    failures, first = 0, 0.0
    while True:
        try:
            return attempt()
        except RetryError as error:
            now = time.monotonic()
            first = first or now
            if now - first > patience.total_s:
                raise AggregatorLostError(f"{what}: no answer for {patience.total_s:.0f} s: {error}") from error
            if failures == 0:
                log.warning("%s: %s; trying again", what, error)
            time.sleep(pause_s(failures))
            failures += 1
