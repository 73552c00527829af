"""The border to the user's code: whatever it does ends as one of the trainer's errors, with the user's own words.

Around every call of a task, by entrypoint.py and session.py. What ends the process without an exception (a signal,
a library's exit) is told by what is left in the termination log meanwhile. No work of the trainer's own inside it.
"""

import logging
import os
import re
import signal
import sys
import threading
import traceback
from _signal import getsignal  # type: ignore[import-not-found]  # signal's own looks for an enum's member of every handler
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import torch

from fedtrainer import termination
from fedtrainer.errors import DataMissingError, StopError, TaskFailedError, TaskInvalidError, Terminated, TrainerError

log = logging.getLogger(__name__)

_exit_now = os._exit
_calls: list[
    tuple[int, Callable[[str], StopError]]
] = []  # of the task's code that runs: process, and what makes its error
_NOT_REPEATABLE = re.compile(r"^(\S+) does not have a deterministic implementation", re.MULTILINE)
_HANDLERS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)  # what termination.py must not lose


@contextmanager
def task_code(what: str, as_error: Callable[[str], StopError] | None = None) -> Iterator[None]:
    """`what` is a part of the task, such as `train()`; `as_error` makes the error of what it raises, else TaskFailedError.

    SystemExit, KeyboardInterrupt and the like are errors too; Terminated, and errors of the trainer, pass.
    """
    pid, left = os.getpid(), _left()
    made = as_error or (lambda words: TaskFailedError(f"the task's {what} raised {words}"))
    termination.enter_task(what)
    os._exit = _exit_of_task  # type: ignore[assignment]
    _calls.append((pid, made))
    try:
        yield
    except BaseException as error:
        _end_child(pid, error)
        if isinstance(error, TrainerError | Terminated):
            raise
        if termination.wanted():  # what a task raises because its pod is to go
            raise Terminated(signal.SIGTERM) from error
        log.exception("the task's %s raised", what)
        raise _known(what, error) or made(named(error)) from error
    finally:
        _end_child(pid, None)
        _calls.pop()
        _restore(left)
        termination.note("")


def named(error: BaseException) -> str:
    """Type and text of an exception; what a command line's parser has printed before it gave up."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - the user's own __str__
        text = "(its text cannot be had)"
    if isinstance(error, SystemExit):
        if printed := _parsers_words(error):
            text += f" ({printed}: a task has no command line, use task.args)"
        elif isinstance(error.__context__, Exception):
            text += f" (after {named(error.__context__)})"
    if isinstance(error, BaseExceptionGroup):
        text += f": {named(error.exceptions[0])}"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _known(what: str, error: BaseException) -> StopError | None:
    """What trying again cannot help, and memory of a device, which may be free the next time."""
    if isinstance(error, torch.OutOfMemoryError):
        return TaskFailedError(
            f"the task's {what}: the device has too little memory: lower training.batchSize, raise "
            f"training.gradientAccumulationSteps, or give the site a larger one: {error}"
        )
    if what == "data()" and isinstance(error, FileNotFoundError | PermissionError | NotADirectoryError):
        return DataMissingError(f"data(): {error}")
    if isinstance(error, NotImplementedError) and what.endswith("()"):
        return TaskInvalidError(
            f"{what}: {error}" if str(error) else f"the task's {what} raised {type(error).__name__}"
        )
    if isinstance(error, RuntimeError) and (found := _NOT_REPEATABLE.search(str(error))):
        return TaskInvalidError(
            f"the task's {what}: {found[1]} has no deterministic implementation on this device, and "
            "training.determinism is Strict: set it to Warn (the same seed may then give other bits), or do without"
        )
    return None


def _exit_of_task(status: int) -> None:
    """In place of os._exit: its exit code would be taken for the trainer's. Forked children end as they like."""
    if not _calls or os.getpid() != _calls[-1][0]:
        _exit_now(status)
    if threading.current_thread() is threading.main_thread():
        raise SystemExit(f"os._exit({status})")
    error = _calls[-1][1](f"SystemExit: os._exit({status}) in the thread {threading.current_thread().name}")
    log.error("%s", error)
    termination.leave_reason(termination.one_line(str(error)))
    _exit_now(error.exit)


def _end_child(pid: int, error: BaseException | None) -> None:
    """A child that the task has forked, and that came back to here, ends as a program would: it is no trainer."""
    if os.getpid() == pid:
        return
    code = 0
    if isinstance(error, SystemExit) and (error.code is None or isinstance(error.code, int)):
        code = error.code or 0
    elif error is not None:
        traceback.print_exception(error)
        code = 1
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    _exit_now(code & 0xFF)


def _left() -> tuple[bool, dict[int, object]]:
    return torch.is_grad_enabled(), {number: getsignal(number) for number in _HANDLERS}


def _restore(left: tuple[bool, dict[int, object]]) -> None:
    """What the trainer relies on after the task's code: gradients are recorded, signals reach termination.py."""
    grad, handlers = left
    torch.set_grad_enabled(grad)
    for number, handler in handlers.items():
        if handler is not None and getsignal(number) is not handler:
            signal.signal(number, handler)  # type: ignore[arg-type]


def _parsers_words(error: SystemExit) -> str:
    """What argparse has printed: it raises SystemExit without its words."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if _is_argparse(frame):
            return str(frame.f_locals.get("message") or "").strip()
    return ""


def _is_argparse(frame: FrameType) -> bool:
    return frame.f_globals.get("__name__") == "argparse" and frame.f_code.co_name in ("error", "exit")
