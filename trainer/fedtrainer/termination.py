"""How a process of the trainer is asked to end or to regroup, and where it leaves its reason. Used by all of fedtrainer.

SIGTERM and SIGINT raise Terminated at once, except inside `deferred`: there only a flag is raised, so that the ranks
of a site can agree on the step after which they end. SIGUSR1, from the launcher, asks rank 0 to regroup.
"""

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from fedapi import names
from fedtrainer.errors import Terminated

log = logging.getLogger(__name__)

LATEST_S = 20.0  # from the signal to the end of a process that finds no good moment for it
LONGEST_REASON = 1000  # characters; the kubelet takes 4096 bytes


class _Signals:
    """What has arrived. Handlers run in the main thread between two byte codes, so plain fields will do."""

    number = 0  # of the first SIGTERM or SIGINT
    depth = 0  # of `deferred`
    regroup = False


_signals = _Signals()


def install() -> None:
    """Sets the handlers. In the main thread, once per process."""
    _signals.number, _signals.depth, _signals.regroup = 0, 0, False
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _terminate)
    signal.signal(signal.SIGUSR1, _regroup)


def wanted() -> bool:
    """Whether SIGTERM or SIGINT has arrived."""
    return _signals.number != 0


def regroup_wanted() -> bool:
    """Whether workers wait that a smaller ring would take in: rank 0 ends the generation between two orders."""
    return _signals.regroup


@contextmanager
def deferred() -> Iterator[None]:
    """Inside, SIGTERM only sets `wanted`; who asks for it ends the process in time, or Terminated is raised 20 s later.

    Leaving the block without an exception after the signal raises Terminated. Blocks may be nested.
    """
    _signals.depth += 1
    try:
        yield
    finally:
        _signals.depth -= 1
        if wanted() and not _signals.depth:
            signal.setitimer(signal.ITIMER_REAL, 0)
    if wanted() and not _signals.depth:
        raise Terminated(_signals.number)


def leave_reason(line: str) -> None:
    """Writes why the process ends, one line, to where the kubelet reads it."""
    path = termination_log()
    if path is None:
        return
    try:
        path.write_text(f"{line}\n")
    except OSError as error:
        log.warning("%s is not writable: %s", path, error)


def one_line(message: str) -> str:
    """The message without line ends, of bounded length."""
    return " ".join(message.split())[:LONGEST_REASON]


def termination_log() -> Path | None:
    """Where the reason goes; readable even when the settings are not."""
    value = os.environ.get(names.ENV_TERMINATION_LOG)
    return Path(value) if value else None


def _terminate(number: int, _frame: FrameType | None) -> None:
    if _signals.number:
        return  # once is enough
    _signals.number = number
    if not _signals.depth:
        raise Terminated(number)
    signal.signal(signal.SIGALRM, _overdue)  # not before: the alarm may be somebody else's
    signal.setitimer(signal.ITIMER_REAL, LATEST_S)


def _overdue(_number: int, _frame: FrameType | None) -> None:
    if wanted():
        raise Terminated(_signals.number)


def _regroup(_number: int, _frame: FrameType | None) -> None:
    _signals.regroup = True
