"""`fedloom run` in a fork of a preloaded process, and with it the programs that it starts: its fork server and its hub's.

They would take most of the processor time of a small run for imports. So processes are forked before the run begins,
while it has no thread; each waits until fedlocal.interpreter is to start its program, and is it then. What comes after
one that was killed is started as ever. Used by tests/integration/fedlocal.
"""

import asyncio
import fcntl
import functools
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from fedlocal import child, fork_server, interpreter
from fedlocal.processes import libraries_alike

NAMES = ("fork_server", "fedaggregator", "fedaggregator.handin")
_SERVER, _HUB = ("-P", "-m", "fedlocal.fork_server"), ("-I", "-u", child.__file__)
_FREE = 900  # descriptors from here on are nobody's
_MOST_BYTES, _MOST_DESCRIPTORS = 1 << 20, 8


@functools.cache
def search_path() -> tuple[str, ...]:
    """Of a Python that is told of nothing but itself."""
    command = [sys.executable, "-I", "-c", "import json, sys; print(json.dumps(sys.path))"]
    return tuple(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))


class Waiting:
    """A fork that waits to be a program, and is asyncio.subprocess.Process to its parent then. It ends with its parent."""

    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            _be_what_comes(theirs)
            raise SystemExit(0)
        theirs.close()

    def start(
        self, arguments: Sequence[str], env: Mapping[str, str], log: Path, inherited: Sequence[int], cwd: Path
    ) -> None:
        """It is `python ARGUMENT…` now."""
        loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int] = loop.create_future()
        log.parent.mkdir(parents=True, exist_ok=True)
        told = {
            "arguments": arguments, "env": dict(env), "log": str(log.absolute()), "cwd": str(cwd),
            "inherited": inherited,
        }  # fmt: skip
        socket.send_fds(self._ours, [json.dumps(told).encode()], inherited)
        self._ours.close()
        watch = os.pidfd_open(self.pid)
        loop.add_reader(watch, self._reap, loop, watch)

    async def wait(self) -> int:
        """Its exit code; negative: the signal that ended it."""
        return await asyncio.shield(self._ended)

    def kill(self) -> None:
        """SIGKILL."""
        os.kill(self.pid, signal.SIGKILL)

    def _reap(self, loop: asyncio.AbstractEventLoop, watch: int) -> None:
        loop.remove_reader(watch)
        os.close(watch)
        self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self._ended.set_result(self.returncode)


def begin(path: Sequence[str], names: Sequence[str]) -> None:
    """In a fork that has no thread and is to run `fedloom`: those of NAMES that it starts are forks."""
    sys.path[:] = path
    waiting = {name: Waiting() for name in names}
    plainly = interpreter.started

    async def started(
        arguments: Sequence[str], env: Mapping[str, str], log: Path, inherited: Sequence[int], cwd: Path | None = None
    ) -> asyncio.subprocess.Process | Waiting:
        if (fork := waiting.get(_name(arguments))) is None or not libraries_alike(env):
            return await plainly(arguments, env, log, inherited, cwd)
        del waiting[_name(arguments)]
        fork.start(arguments, env, log, inherited, cwd or Path.cwd())
        return fork

    interpreter.started = started


def _name(arguments: Sequence[str]) -> str:
    if arguments[:3] == _SERVER:
        return NAMES[0]
    return arguments[5] if arguments[:3] == _HUB else ""


def _be_what_comes(parent: socket.socket) -> None:
    """Waits for a program to be and is it, or returns where there is none."""
    listening = _moved(parent.detach())
    os.closerange(3, _FREE)  # what is the parent's, the ends of other forks' sockets among them
    with socket.socket(fileno=listening) as source:
        words, descriptors, _, _ = socket.recv_fds(source, _MOST_BYTES, _MOST_DESCRIPTORS)
    if not words:
        return
    told = json.loads(words)
    for high, number in zip([*map(_moved, descriptors)], told["inherited"], strict=True):
        os.dup2(high, number)
        os.close(high)
    os.setsid()
    child.take_over(told["log"], told["cwd"], told["env"])
    _be(tuple(told["arguments"]))


def _moved(descriptor: int) -> int:
    high = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _FREE)
    os.close(descriptor)
    return high


def _be(arguments: Sequence[str]) -> None:
    """Its name is what runs.descendants tells: the command line is one at all forks."""
    sys.argv = list(arguments[2:])
    Path("/proc/self/comm").write_text(_name(arguments))
    fork_server.main() if _name(arguments) == NAMES[0] else child.main()
