"""The runner's side of the fork server (fork_server.py): asks it for forks and learns how they end. Used by processes.py.

The fork server may be killed at any time: whoever waits for it then is told so by ForkServerLostError. Requests go
through a stream, whose writes are whole and in order however many sites start at once.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fedapi.jsonvalue import Json, JsonView
from fedlocal import interpreter

END_S = 2.0  # of a fork server that is no longer needed


class ForkServerLostError(ConnectionError):
    """The fork server ended before it answered."""


@dataclass
class Fork:
    """A process that the fork server reports on."""

    born: "asyncio.Future[int]"
    ended: "asyncio.Future[int]"

    @property
    def pid(self) -> int:
        """Its process id, which is its group too."""
        return self.born.result()

    async def wait(self) -> int:
        """Its exit code; negative: the signal that ended it."""
        return await asyncio.shield(self.ended)


@dataclass(eq=False)
class ForkServer:
    """One fork server, from its start to its end."""

    process: asyncio.subprocess.Process
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    lost: bool = False
    _forks: dict[int, Fork] = field(default_factory=dict)
    _count: int = 0
    _following: "asyncio.Task[None] | None" = None

    @classmethod
    async def started(
        cls, watched: int, env: Mapping[str, str], log: Path, modules: Sequence[str] = ()
    ) -> "ForkServer":
        """Starts it: it loads torch while the runner does other things, and later these modules."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = await interpreter.started(
                ("-P", "-m", "fedlocal.fork_server", str(watched), str(theirs.fileno()), *modules),
                env, log, (watched, theirs.fileno()),
            )  # fmt: skip
        server = cls(process, *await asyncio.open_unix_connection(sock=ours))
        server._following = asyncio.create_task(server._follow())
        return server

    async def fork(self, request: JsonView) -> Fork:
        """A forked process, once it is there. A start that is given up is ended as soon as it is."""
        if self.lost:
            raise ForkServerLostError("the fork server has ended")
        loop = asyncio.get_running_loop()
        self._count += 1
        fork = self._forks[self._count] = Fork(loop.create_future(), loop.create_future())
        self.writer.write(json.dumps({"id": self._count, **request}).encode() + b"\n")
        await fork.born
        return fork

    async def close(self) -> None:
        """Ends it, and with it what it has forked. It is left the time to remove its temporary files, of which torch has some."""
        if self._following:
            self._following.cancel()
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_S):
                await self.process.wait()
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    async def _follow(self) -> None:
        """Takes its reports until it is gone, however it went."""
        try:
            with contextlib.suppress(OSError):
                while line := await self.reader.readline():
                    self._reported(json.loads(line))
        finally:
            self._lost()

    def _reported(self, message: Json) -> None:
        fork = self._forks[message["id"]]
        if "code" in message:
            fork.ended.set_result(message["code"])
            del self._forks[message["id"]]
        elif fork.born.cancelled():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(message["pid"], signal.SIGKILL)
        else:
            fork.born.set_result(message["pid"])

    def _lost(self) -> None:
        """Its forks died with it (fork_server.py), and nobody can say more of their ends."""
        self.lost = True
        for fork in self._forks.values():
            if not fork.born.done():
                fork.born.set_exception(ForkServerLostError("the fork server ended"))
            fork.ended.set_result(-signal.SIGKILL)
        self._forks.clear()
