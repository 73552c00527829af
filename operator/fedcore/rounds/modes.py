"""By which step function a job's rounds go on: chosen here and nowhere else. Pure; called by the engine at its start.

All share events, effects, state and interpreter. Synchronous rounds (machine.py) are what a strategy gets that is not
named in OTHERS; an asynchronous strategy, whose updates are folded as they come, names its own there.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from fedapi.wire.job import JobConfig
from fedcore.rounds import asynchronous, machine, recovery, resuming, window
from fedcore.rounds.events import Event
from fedcore.rounds.machine import Step
from fedcore.rounds.recovery import Log
from fedcore.rounds.state import State


@dataclass(frozen=True)
class Mode:
    """The life of a job's rounds: how one begins again, goes on, and when time alone changes something."""

    recovered: Callable[[JobConfig, Log, float], Step]
    step: Callable[[State, Event], Step]
    wakes_at: Callable[[State], float | None]
    looks_back: bool = False  # whether updates of earlier orders may be accepted and in no model yet


SYNCHRONOUS = Mode(recovery.recovered, machine.step, machine.wakes_at)
ASYNCHRONOUS = Mode(
    partial(recovery.recovered, resumed=resuming.resumed), asynchronous.step, machine.wakes_at, looks_back=True
)
OTHERS: Mapping[str, Mode] = dict.fromkeys(window.ASYNCHRONOUS, ASYNCHRONOUS)  # by the strategy's name


def mode(strategy: str) -> Mode:
    """The mode of a strategy's rounds."""
    return OTHERS.get(strategy, SYNCHRONOUS)
