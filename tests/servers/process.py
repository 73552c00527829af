"""A server's process: started, asked until it answers, killed and started again where a test wants that, ended at the end.

Used by the starters of this folder. It dies with the process that started it, whatever ends that.
"""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.shell import need
from tests.waiting import PATIENCE_S, until

_LOG_TAIL_BYTES = 2000


@dataclass
class Process:
    """One server. `ready` asks it something; an OSError of it means not yet."""

    command: Sequence[str | Path]
    log: Path
    ready: Callable[[], bool]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    _running: subprocess.Popen | None = None

    @property
    def pid(self) -> int:
        assert self._running is not None
        return self._running.pid

    def start(self) -> None:
        """Returns when it is ready."""
        words = [need("setpriv"), "--pdeathsig", "KILL", *map(str, self.command)]
        with self.log.open("ab") as sink:
            self._running = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, env={**os.environ, **self.env}, cwd=self.cwd
            )
        try:
            until(self._answers, why=self._told, not_yet=(OSError,))
        except BaseException:
            self.end(signal.SIGKILL)
            raise

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """SIGTERM ends it in order, SIGKILL as a crash does."""
        if self._running is None:
            return
        self._running.send_signal(how)
        try:
            self._running.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._running.kill()
            self._running.wait()
        self._running = None

    def restart(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Ended and started again, with its data."""
        self.end(how)
        self.start()

    def _answers(self) -> bool:
        assert self._running is not None
        if (code := self._running.poll()) is not None:
            raise RuntimeError(f"{self.command[0]} ended with {code}: {self._told()}")
        return self.ready()

    def _told(self) -> str:
        return self.log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")


@contextmanager
def running(process: Process) -> Iterator[Process]:
    """Ready inside, ended afterwards."""
    process.start()
    try:
        yield process
    finally:
        process.end()
