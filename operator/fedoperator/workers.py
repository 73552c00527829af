"""The threads that take keys from the queue and look at what they stand for; what happens with errors.

Started by lifecycle.py. The only place that turns errors into delays. Every key is looked at again after a while,
even if nothing happened (resync, with jitter so that a hundred jobs do not come at once).
"""

import logging
import random
import threading
from collections.abc import Callable
from time import monotonic
from typing import Protocol

from fedapi.jsonlog import in_log
from fedoperator.errors import GoneError, RetryLaterError, UnauthorizedError
from fedoperator.queueing import WorkKey, WorkQueue

log = logging.getLogger(__name__)

GONE_RETRY_S = 30.0  # a namespace that is being deleted takes the job with it; look once more all the same
_JITTER = 0.1


class Measure(Protocol):
    """What is counted about looks."""

    def looked(self, result: str, seconds: float) -> None:
        """A look ended."""


class Workers:
    """N threads over one queue."""

    def __init__(
        self,
        queue: WorkQueue,
        look: Callable[[WorkKey], float | None],
        measure: Measure,
        resync_s: float,
        fatal: Callable[[str], None],
    ) -> None:
        self._queue = queue
        self._look = look
        self._measure = measure
        self._resync_s = resync_s
        self._fatal = fatal
        self._threads: list[threading.Thread] = []

    def start(self, count: int) -> None:
        """Starts the threads."""
        self._threads = [threading.Thread(target=self._run, name=f"worker-{n}", daemon=True) for n in range(count)]
        for thread in self._threads:
            thread.start()

    def stop(self, within_s: float) -> None:
        """Lets the looks under way come to their end."""
        self._queue.shut()
        until = monotonic() + within_s
        for thread in self._threads:
            thread.join(max(0.0, until - monotonic()))

    def _run(self) -> None:
        while (key := self._queue.get()) is not None:
            with in_log(job=str(key)):
                began = monotonic()
                result = self._handle(key)
                seconds = monotonic() - began
                self._measure.looked(result, seconds)
                said = {"kind": key.kind, "result": result, "seconds": round(seconds, 3)}
                log.debug("looked", extra={"fields": said})
            self._queue.done(key)

    def _handle(self, key: WorkKey) -> str:
        try:
            again_s = self._look(key)
        except RetryLaterError as error:
            delay = self._queue.add_failed(key, error.after_s)
            log.log(logging.DEBUG if error.conflict else logging.WARNING, "again in %.1f s: %s", delay, error)
            return "conflict" if error.conflict else "retry"
        except GoneError as error:
            log.debug("gone: %s", error)
            self._queue.add(key, GONE_RETRY_S)
            return "gone"
        except UnauthorizedError as error:
            self._queue.add_failed(key)
            self._fatal(str(error))
            return "error"
        except Exception:
            log.exception("a look failed; again in %.1f s", self._queue.add_failed(key))
            return "error"
        self._queue.succeeded(key)
        if again_s is not None:
            self._queue.add(key, min(again_s, self._resync_s * random.uniform(1 - _JITTER, 1 + _JITTER)))  # noqa: S311 - it spreads load, and keeps no secret
        return "ok"
