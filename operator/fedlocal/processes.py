"""Starts and ends processes: plain ones, and trainers forked from a process that has torch loaded already.

Used by kubelet.py through the Launcher port. No process outlives the runner: each watches a pipe that only the
runner holds (child.py).
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

ENV_FORK = "FEDLOOM_LOCAL_FORK"  # "0": every trainer loads torch itself, as on a cluster

# A library reads these when it is loaded, so a process that wants other values than the runner's is not forked.
_READ_AT_IMPORT = (
    "OMP_", "MKL_", "KMP_", "OPENBLAS_", "TORCH", "PYTORCH_", "CUDA_", "NCCL_", "LD_", "DYLD_", "ATEN_", "PJRT_", "XLA_",
)  # fmt: skip


@dataclass(frozen=True)
class Command:
    """`python -m module arguments` with everything that the process sees."""

    module: str
    arguments: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    log: Path


class Process(Protocol):
    """A started process."""

    @property
    def pid(self) -> int:
        """Its process id, which is its group too."""

    async def wait(self) -> int:
        """Its exit code; negative: the signal that ended it."""


class Launcher(Protocol):
    """Port: starts processes."""

    async def start(self, command: Command) -> Process:
        """Starts one."""

    def close(self) -> None:
        """Ends whatever is kept for later starts."""


def terminate(process: Process) -> None:
    """Asks a process to end, not what it started: as a kubelet does, it leaves that to the process."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(process.pid, signal.SIGTERM)


def kill(process: Process) -> None:
    """Ends a process and what it started; nothing when all are gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


@dataclass
class PlainLauncher:
    """Every program in an interpreter of its own."""

    _watch: tuple[int, int] = field(default_factory=os.pipe)

    @property
    def watched(self) -> int:
        """The read end that children watch; they inherit it, never the write end."""
        return self._watch[0]

    async def start(self, command: Command) -> Process:
        """Starts `python -m fedlocal.child`, which runs the module."""
        command.log.parent.mkdir(parents=True, exist_ok=True)
        with command.log.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                sys.executable, "-m", "fedlocal.child", str(self.watched), command.module, *command.arguments,
                env=command.env, cwd=command.cwd, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
                pass_fds=(self.watched,), start_new_session=True,
            )  # fmt: skip

    def close(self) -> None:
        """Lets go of the pipe: whatever still runs ends."""
        for descriptor in self._watch:
            with contextlib.suppress(OSError):
                os.close(descriptor)


@dataclass
class _Fork:
    """A process that the nursery reports on."""

    born: "asyncio.Future[int]"
    ended: "asyncio.Future[int]"

    @property
    def pid(self) -> int:
        return self.born.result()

    async def wait(self) -> int:
        return await asyncio.shield(self.ended)


@dataclass
class ForkingLauncher:
    """Forks `modules` from a nursery with torch loaded; everything else, and whatever cannot be forked, is plain."""

    plain: PlainLauncher
    modules: frozenset[str]
    _process: asyncio.subprocess.Process | None = None
    _control: socket.socket | None = None
    _forks: dict[int, _Fork] = field(default_factory=dict)
    _count: int = 0
    _reader: "asyncio.Task[None] | None" = None

    async def warm(self, env: Mapping[str, str], log: Path) -> None:
        """Starts the nursery: it loads torch while the runner does other things."""
        ours, theirs = socket.socketpair()
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "fedlocal.nursery", str(self.plain.watched), str(theirs.fileno()),
                env=env, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output,
                pass_fds=(self.plain.watched, theirs.fileno()), start_new_session=True,
            )  # fmt: skip
        theirs.close()
        ours.setblocking(False)
        self._control = ours
        self._reader = asyncio.create_task(self._read(ours))

    async def start(self, command: Command) -> Process:
        """Forks the process, or starts a plain one."""
        if self._control is None or not self._forkable(command):
            return await self.plain.start(command)
        command.log.parent.mkdir(parents=True, exist_ok=True)
        loop = asyncio.get_running_loop()
        self._count += 1
        fork = self._forks[self._count] = _Fork(loop.create_future(), loop.create_future())
        request = {
            "id": self._count, "module": command.module, "args": list(command.arguments), "env": dict(command.env),
            "cwd": str(command.cwd), "log": str(command.log.absolute()),
        }  # fmt: skip
        try:
            await loop.sock_sendall(self._control, json.dumps(request).encode() + b"\n")
            await fork.born
        except OSError:
            return await self.plain.start(command)
        return fork

    def close(self) -> None:
        """Ends the nursery."""
        if self._reader:
            self._reader.cancel()
        if self._control:
            self._control.close()
        if self._process and self._process.returncode is None:
            self._process.kill()
        self.plain.close()

    def _forkable(self, command: Command) -> bool:
        same = (
            command.env.get(name) == os.environ.get(name)
            for name in {*command.env, *os.environ}
            if name.startswith(_READ_AT_IMPORT)
        )
        return command.module in self.modules and all(same)

    async def _read(self, control: socket.socket) -> None:
        loop, pending = asyncio.get_running_loop(), b""
        while data := await loop.sock_recv(control, 65536):
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                self._reported(json.loads(line))
        self._lost()

    def _reported(self, message: dict[str, Any]) -> None:
        fork = self._forks[message["id"]]
        if "pid" in message:
            fork.born.set_result(message["pid"])
        else:
            fork.ended.set_result(message["code"])
            del self._forks[message["id"]]

    def _lost(self) -> None:
        """The nursery is dead, so its children are orphans that nobody reaps: they are ended and started anew, plain."""
        self._control = None
        for fork in self._forks.values():
            if not fork.born.done():
                fork.born.set_exception(ConnectionResetError("the process that forks trainers ended"))
                continue
            kill(fork)
            fork.ended.set_result(-signal.SIGKILL)
        self._forks.clear()


def launcher() -> PlainLauncher | ForkingLauncher:
    """Forking where forking with loaded libraries is safe (Linux) and not switched off, plain elsewhere."""
    plain = PlainLauncher()
    forking = sys.platform == "linux" and os.environ.get(ENV_FORK, "1") != "0"
    return ForkingLauncher(plain, frozenset({"fedtrainer"})) if forking else plain
