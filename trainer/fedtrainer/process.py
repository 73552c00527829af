"""How a process of the trainer begins a site's work and ends it: logging, signals, and from an error to an exit code.

Called by __main__, and by agent/shared.py once for each order where a process serves several sites. The reason of an
end is left where the kubelet reads it.
"""

import logging
from collections.abc import Callable

from fedapi import jsonlog
from fedapi.outcome import Exit, reason
from fedtrainer import taskpath, termination
from fedtrainer.errors import StopError, Terminated

log = logging.getLogger("fedtrainer")

CRASHED = 1  # an error that nobody foresaw: retried within the budget, like every code outside fedapi.outcome


def begin() -> None:
    """Sets up logging, signals, the task's search path and the place for the reason, from the environment as it is now."""
    jsonlog.configure(logging.INFO)
    jsonlog.set_level("httpx", logging.WARNING)  # by which launchers speak to each other: it logs every question
    termination.install()
    taskpath.extend()
    termination.tell_crashes()


def code_of(work: Callable[[], int]) -> int:
    """Does the work; the exit code of the process."""
    try:
        return work()
    except StopError as error:
        return end(error.exit, str(error))
    except Terminated as signalled:
        log.info("ended by signal %d; finished work is kept", signalled.number)
        return 128 + signalled.number
    except BaseException as error:  # SystemExit too: its code would be taken for one of ours
        log.exception("the trainer itself failed")
        return end(*_unforeseen(error))


def _unforeseen(error: BaseException) -> tuple[int, str]:
    """Code and message. Code of the task that ran here may have closed the trainer's files or emptied its modules."""
    words = f"{type(error).__name__}: {error}"
    if not (task := termination.ran_task()):
        return CRASHED, words
    return Exit.TASK_FAILED, f"the trainer cannot go on after the task's {task}: {words}"


def end(code: int, message: str) -> int:
    """Says why the process ends, and leaves the reason; the code."""
    line = termination.one_line(message)
    log.error("%s (exit %d): %s", reason(code), code, line)
    termination.leave_reason(line)
    return code
