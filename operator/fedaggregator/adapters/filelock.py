"""A lock of a file as the fence of a job's store: where there is no Kubernetes, and all aggregators of a job are on one machine.

The kernel holds it for as long as the process lives, also while it is paused, and lets it go with the process.
"""

import fcntl
import os
import threading
from collections.abc import Callable
from pathlib import Path

from fedaggregator.errors import FatalError
from fedapi.outcome import Exit
from fedstore.errors import FencedOffError

_PAUSE_S = 0.2


class FileLock:
    """The fence of one process: fedstore.fencing.Fence."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._ended = threading.Event()
        self.waits_for = ""

    def take(self, *, used: Callable[[], bool]) -> None:
        """Waits until no other process has it. FatalError when the file cannot be made."""
        del used
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise FatalError(
                Exit.BAD_SETTINGS, f"{self._path}, which keeps other writers off: {error.strerror}"
            ) from error
        while not self._ended.is_set():
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.waits_for = f"another aggregator has locked {self._path}"
                self._ended.wait(_PAUSE_S)
            else:
                self._file, self.waits_for = file, ""
                return
        os.close(file)

    def keep(self, lost: Callable[[], None]) -> None:
        """The kernel does."""

    def release(self) -> None:
        """Also while it is waited for."""
        self._ended.set()
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def check(self) -> None:
        """As the port says."""
        if self._file is None:
            raise FencedOffError(f"{self._path} is not locked by this process")
