"""The ranks of one worker as processes: started, watched, told, ended. Used by participation.py.

Each rank is a session of its own, so that it ends with all its children; it dies with the launcher (lifeline.py).
Its output goes to the pod's, line by line with the rank's number; its reason goes to a file of its own.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from fedapi import names
from fedapi.outcome import Exit
from fedtrainer.ring.slot import Slot
from fedtrainer.termination import one_line

COMMAND = (sys.executable, "-m", "fedtrainer", "train")
LAST_WORDS_S = 2.0  # for output that is under way when a rank has ended
LONGEST_LINE = 64 * 1024  # bytes; a longer line is split
OURS = (Exit.OK, Exit.RING_BROKEN)  # ends that are no fault of the rank


@dataclass(frozen=True)
class Ended:
    """A rank's end: exit code (a signal n is 128 + n) and its one-line reason."""

    slot: Slot
    code: int
    line: str

    @property
    def fault(self) -> bool:
        """Whether the rank failed by itself."""
        return self.code not in OURS


class Ranks:
    """The running ranks. Use as a context manager: nothing of them outlives the block."""

    def __init__(self, command: Sequence[str], ended: Callable[[Ended], None]) -> None:
        self._command = tuple(command)
        self._ended = ended  # called from a thread, once per rank
        self._running: dict[int, subprocess.Popen[bytes]] = {}  # by local rank, until reaped
        self._lock = threading.Lock()  # a pid is signalled or reaped, never one after the other
        self._threads: list[threading.Thread] = []
        self._folder = tempfile.TemporaryDirectory(prefix="ranks-", ignore_cleanup_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.signal(signal.SIGKILL)
        for thread in self._threads:
            thread.join(LAST_WORDS_S)
        self._folder.cleanup()

    def start(self, slot: Slot, environment: Mapping[str, str]) -> int:
        """One rank, with `environment` on top of this process's; its process id."""
        reason = Path(self._folder.name) / f"rank-{slot.rank}"
        process = subprocess.Popen(  # noqa: S603 - the command is the trainer's own
            self._command,
            env={**os.environ, **environment, names.ENV_TERMINATION_LOG: str(reason)},
            stdin=subprocess.PIPE,  # never written: lifeline.py
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._running[slot.local_rank] = process
        self._thread(self._reap, slot, process, reason)
        self._thread(_copy, process.stdout, 1, slot.rank)
        self._thread(_copy, process.stderr, 2, slot.rank)
        return process.pid

    def signal(self, number: int, local_rank: int | None = None) -> None:
        """To one rank, or to all that run."""
        with self._lock:
            for local, process in self._running.items():
                if local_rank in (None, local):
                    os.kill(process.pid, number)

    def _thread(self, target: Callable[..., None], *values: object) -> None:
        thread = threading.Thread(target=target, args=values, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _reap(self, slot: Slot, process: subprocess.Popen[bytes], reason: Path) -> None:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with self._lock:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)  # what the rank has left behind
            status = process.wait()
            if process.stdin is not None:
                process.stdin.close()
            del self._running[slot.local_rank]
        try:
            line = one_line(reason.read_text(errors="replace"))
        except OSError:
            line = ""
        how = f"signal {-status}" if status < 0 else f"exit code {status}"
        if status < 0 and line:
            line = f"{how}: {line}"
        code = 128 - status if status < 0 else status
        if code == Exit.OK and line:  # ended by the task's code: who ends well leaves no line
            code = Exit.TASK_FAILED
        self._ended(Ended(slot, code, line or f"rank {slot.rank} of worker {slot.worker} ended with {how}"))


def _copy(source: BinaryIO, target: int, rank: int) -> None:
    prefix = f"[rank {rank}] ".encode()
    with source:
        while line := source.readline(LONGEST_LINE):
            with suppress(OSError):
                os.write(target, prefix + line if line.endswith(b"\n") else prefix + line + b"\n")
