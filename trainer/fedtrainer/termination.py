"""How a process of the trainer is asked to end or to regroup, and where it leaves its reason. Used by all of fedtrainer.

SIGTERM and SIGINT raise Terminated at once, except inside `deferred`: there only a flag is raised, so that the ranks
of a site can agree on the step after which they end. SIGUSR1, from the launcher, asks rank 0 to regroup.
Children that a task forks have none of this: they end when they are told to. While a process forks, signals wait: Python
drops those that reach a child before it has set it up, and an error that is raised by a handler then would be lost.
"""

import faulthandler
import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from fedapi import names
from fedtrainer.errors import Terminated

log = logging.getLogger(__name__)

LATEST_S = 20.0  # from the signal to the end of a process that finds no good moment for it
SOON_S = 0.01  # from one that came while it forked
NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGALRM)
LONGEST_REASON = 1000  # characters; the kubelet takes 4096 bytes


class _Signals:
    """What has arrived. Handlers run in the main thread between two byte codes, so plain fields will do."""

    number = 0  # of the first SIGTERM or SIGINT
    depth = 0  # of `deferred`
    regroup = False
    crashes: int | None = None  # file descriptor to which faulthandler writes
    crash_log: tuple[int, int] | None = (
        None  # what it was opened for: a task may close it, and its number be another file's
    )
    log: Path | None = None  # where the reason goes: known before a task can change the environment
    task: str = ""  # the part of the task that ran last


_signals = _Signals()
_forking: dict[int, set[int | signal.Signals]] = {}  # threads that do, and which signals were blocked there before


def install() -> None:
    """Sets the handlers. In the main thread, once per process."""
    _signals.number, _signals.depth, _signals.regroup, _signals.task = 0, 0, False, ""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _terminate)
    signal.signal(signal.SIGUSR1, _regroup)


def tell_crashes() -> None:
    """A signal that kills the process (SIGSEGV, SIGABRT, SIGBUS, …) is named, with the Python stack, where its reason goes."""
    _signals.log = None
    path, before = termination_log(), _signals.crashes
    _signals.log = path
    try:
        _signals.crashes = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644) if path else None
    except OSError as error:
        log.warning("%s is not writable: %s", path, error)
        _signals.crashes = None
    _signals.crash_log = None if _signals.crashes is None else _identity(_signals.crashes)
    # The kubelet takes the last 4096 bytes: the stacks of other threads would push the signal's name out.
    faulthandler.enable(2 if _signals.crashes is None else _signals.crashes, all_threads=False)
    if before is not None:
        os.close(before)


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


def enter_task(what: str) -> None:
    """The task's code begins to run: this is read if it ends the process without a word, before what `tell_crashes` adds."""
    _signals.task = what
    note(f"the process was ended inside the task's {what}, by a signal or by a library's exit ")


def ran_task() -> str:
    """The part of the task that ran last in this process; empty before any has."""
    return _signals.task


def note(text: str) -> None:
    """What is read if the process ends now, without a word; empty: nothing.

    Into the file that `tell_crashes` holds open, because it is said around every call of a task's code: file systems such as
    ext4 write a file that was truncated to disk when it is closed.
    """
    with suppress(OSError):
        if _signals.crashes is not None and _identity(_signals.crashes) == _signals.crash_log is not None:
            os.ftruncate(_signals.crashes, 0)
            os.write(_signals.crashes, text.encode())
        elif (path := termination_log()) is not None:
            path.write_text(text)


def _identity(descriptor: int) -> tuple[int, int] | None:
    """Tells an open file from others; None when it is closed."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return None
    return status.st_dev, status.st_ino


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
    """The message without line ends and what cannot be shown, of bounded length."""
    line = " ".join(message[: 16 * LONGEST_REASON].split())[:LONGEST_REASON]
    return "".join(c if c.isprintable() else "?" for c in line)


def termination_log() -> Path | None:
    """Where the reason goes; readable even when the settings are not."""
    value = os.environ.get(names.ENV_TERMINATION_LOG)
    return _signals.log or (Path(value) if value else None)


def _terminate(number: int, _frame: FrameType | None) -> None:
    if _signals.number:
        return  # once is enough
    _signals.number = number
    if not (_signals.depth or _forking):
        raise Terminated(number)
    signal.signal(signal.SIGALRM, _overdue)  # not before: the alarm may be somebody else's
    signal.setitimer(signal.ITIMER_REAL, LATEST_S if _signals.depth else SOON_S)


def _overdue(_number: int, _frame: FrameType | None) -> None:
    if _forking:
        signal.setitimer(signal.ITIMER_REAL, SOON_S)
    elif wanted():
        raise Terminated(_signals.number)


def _regroup(_number: int, _frame: FrameType | None) -> None:
    _signals.regroup = True


def _hold() -> None:
    thread = threading.get_ident()
    _forking[thread] = set()
    _forking[thread] = signal.pthread_sigmask(signal.SIG_BLOCK, NUMBERS)


def _let_go() -> None:
    thread = threading.get_ident()
    signal.pthread_sigmask(signal.SIG_SETMASK, _forking[thread])
    del _forking[thread]


def _forget() -> None:
    """In a forked child: SIGTERM ends it at once, and its crash is not its parent's."""
    _signals.number, _signals.depth, _signals.regroup = 0, 0, False
    for number in NUMBERS:
        if signal.getsignal(number) in (_terminate, _overdue, _regroup):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    if _signals.crashes is not None:
        with suppress(OSError):
            faulthandler.enable(2, all_threads=False)
    _let_go()
    _forking.clear()


os.register_at_fork(before=_hold, after_in_parent=_let_go, after_in_child=_forget)
