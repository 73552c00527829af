"""Asks the aggregator, while training, whether the work is still wanted. Used by work.py around a training.

A short training never asks. The thread is abandoned, not joined, when training ends: its question in flight is
held by the aggregator for a few seconds, and the answer is read by nobody.
"""

import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from fedapi.wire.site import Assignment, TrainOrder
from fedtrainer.agent.control import Control
from fedtrainer.agent.patience import RetryError
from fedtrainer.errors import TrainerError

log = logging.getLogger(__name__)

FIRST_QUESTION_S = 1.0
HELD_S = 5.0
PAUSE_S = 2.0  # after a failed question


class Watch:
    """Context manager; `dropped()` turns true when the aggregator no longer wants the order. Calls `alive` while it runs."""

    def __init__(self, control: Control, order: TrainOrder, alive: Callable[[], None]) -> None:
        self._control = control
        self._alive = alive
        self._doing = (order.round, order.attempt)
        self._dropped = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()

    def dropped(self) -> bool:
        """Whether to stop."""
        return self._dropped.is_set()

    def _run(self) -> None:
        pause = FIRST_QUESTION_S
        while not self._ended.wait(pause):
            pause = 0.0
            self._alive()
            try:
                answer = self._control.peek(HELD_S, self._doing)
            except RetryError:
                pause = PAUSE_S
                continue
            except TrainerError as error:  # the main thread meets the same answer, and acts on it
                log.warning("asking about round %d: %s", self._doing[0], error)
                return
            if self._ended.is_set():
                return
            if not self._wanted(answer):
                log.info("round %d attempt %d is no longer wanted: %s", *self._doing, answer.message or answer.kind)
                self._dropped.set()
                return
            pause = 0.05 if answer.kind != "Wait" else 0.0  # an aggregator that repeats the order holds no question

    def _wanted(self, answer: Assignment) -> bool:
        if answer.kind == "Train" and answer.train is not None:
            return (answer.train.round, answer.train.attempt) == self._doing
        return answer.kind == "Wait"
