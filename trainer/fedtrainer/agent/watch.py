"""Asks the aggregator, while training, whether the work is still wanted. Used by work.py around a training.

A short training never asks, and costs no thread: one that waits in vain waits for the next training. A thread that asks
is abandoned, not joined, when training ends: its question in flight is held by the aggregator for a few seconds, and
the answer is read by nobody.
"""

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from fedapi.wire.orders import TrainOrder
from fedapi.wire.site import Assignment
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
        self._is_dropped = self._is_over = False
        self.first_at = 0.0  # by the monotonic clock: when it is asked about first

    def __enter__(self) -> Self:
        self.first_at = time.monotonic() + FIRST_QUESTION_S
        _thread.begin(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over = True
        _thread.end()

    def dropped(self) -> bool:
        """Whether to stop."""
        return self._is_dropped

    def ask(self) -> None:
        """Until the training ends, or need not go on."""
        while not self._is_over:
            self._alive()
            try:
                answer = self._control.peek(HELD_S, self._doing)
            except RetryError:
                time.sleep(PAUSE_S)
                continue
            except TrainerError as error:  # the main thread meets the same answer, and acts on it
                if not self._is_over:  # else the log may be another site's by now
                    log.warning("asking about round %d: %s", self._doing[0], error)
                return
            if self._is_over:
                return
            if not self._wanted(answer):
                log.info("round %d attempt %d is no longer wanted: %s", *self._doing, answer.message or answer.kind)
                self._is_dropped = True
                return
            if answer.kind != "Wait":
                time.sleep(0.05)  # an aggregator that repeats the order holds no question

    def _wanted(self, answer: Assignment) -> bool:
        if answer.kind == "Train" and answer.train is not None:
            return (answer.train.round, answer.train.attempt) == self._doing
        return answer.kind == "Wait"


class _Thread:
    """The one thread that waits until a training has lasted long enough to be asked about. Nobody wakes it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now: Watch | None = None  # this process works on one order at a time
        self._waits = False

    def begin(self, watch: Watch) -> None:
        """Watches that one from now on."""
        with self._lock:
            self._now, there, self._waits = watch, self._waits, True
        if not there:
            threading.Thread(target=self._run, name="watch", daemon=True).start()

    def end(self) -> None:
        """Nothing is worked on."""
        with self._lock:
            self._now = None

    def _run(self) -> None:
        if (watch := self._due()) is not None:
            watch.ask()

    def _due(self) -> Watch | None:
        """The training that is to be asked about; None: there is none."""
        while True:
            with self._lock:
                left = self._now.first_at - time.monotonic() if self._now is not None else 0.0
                if left <= 0:
                    self._waits = False
                    return self._now
            time.sleep(left)


_thread = _Thread()
