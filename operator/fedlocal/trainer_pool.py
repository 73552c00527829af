"""A bounded number of shared trainers: each does one order at a time, for whichever site has waited longest.

Used by sharing.py. A trainer that ended, or is worn, is replaced when there is work again; whose order it had learns its
exit code, as of a process of its own, and no other site notices.
"""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedlocal.processes import SHARED_TRAINER, Command, Launcher, Process

LAST_WORD_S = 1.0  # from a trainer's end to an answer that was on its way
SOCKET = "socket"  # in the trainers' working folder: no path is too long for it


class NotStartedError(Exception):
    """A trainer ended, with this code, before it could be given an order."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Outcome:
    """How an order ended: with the trainer's exit code where the trainer ended with it."""

    code: int = 0
    finished: bool = False  # the site needs no further order


@dataclass(eq=False)
class Trainer:
    """One process and the connection to it."""

    process: Process
    ended: "asyncio.Future[int]"
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    worn: bool = False  # not for another order

    async def serve(self, order: Mapping[str, Any]) -> Outcome:
        """Has an order done: `answer`, `env`, `cwd` and `log` of a site (shared_trainer.py)."""
        with contextlib.suppress(OSError):
            self.writer.write(json.dumps(order).encode() + b"\n")
            if line := await self._answer():
                said = json.loads(line)
                self.worn |= said["worn"]
                return Outcome(finished=said["finished"])
        self.worn = True
        return Outcome(await asyncio.shield(self.ended))

    async def _answer(self) -> bytes:
        """Empty when it has ended without one: a child that the task has left may hold its connection open."""
        said = asyncio.ensure_future(self.reader.readline())
        either: set[asyncio.Future[Any]] = {said, self.ended}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not said.done():
                await asyncio.wait({said}, timeout=LAST_WORD_S)
            return said.result() if said.done() else b""
        finally:
            said.cancel()

    def terminate(self) -> None:
        """Asks it to end, with the order that it has."""
        self.worn = True
        self.process.terminate()

    def kill(self) -> None:
        """Ends it and what it started."""
        self.worn = True
        self.process.kill()


@dataclass
class TrainerPool:
    """All shared trainers of a run."""

    launcher: Launcher
    folder: Path
    log: Path
    env: Mapping[str, str]
    most: int
    _idle: list[Trainer] = field(default_factory=list)
    _all: set[Trainer] = field(default_factory=set)
    _expected: "dict[int, asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]" = field(
        default_factory=dict
    )
    _server: asyncio.AbstractServer | None = None
    _count: int = 0

    def __post_init__(self) -> None:
        self._turns = asyncio.Semaphore(self.most)

    async def open(self) -> None:
        """Listens for trainers, in the folder alone."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        listening = socket.socket(socket.AF_UNIX)
        with contextlib.chdir(self.folder):
            listening.bind(SOCKET)
        listening.listen()
        self._server = await asyncio.start_unix_server(self._connected, sock=listening)

    @contextlib.asynccontextmanager
    async def trainer(self) -> AsyncIterator[Trainer]:
        """A trainer for one order. NotStartedError when none can be had."""
        async with self._turns:
            trainer = await self._one()
            try:
                yield trainer
            finally:
                if trainer.worn:
                    await self._discard(trainer)
                else:
                    self._idle.append(trainer)

    async def close(self) -> None:
        """Ends them all."""
        if self._server:
            self._server.close()
        for trainer in list(self._all):
            await self._discard(trainer)

    async def _one(self) -> Trainer:
        while self._idle:
            trainer = self._idle.pop()
            if not trainer.ended.done():
                return trainer
            await self._discard(trainer)
        return await self._started()

    async def _started(self) -> Trainer:
        number = self._count = self._count + 1
        link = self._expected[number] = asyncio.get_running_loop().create_future()
        try:
            process = await self.launcher.start(
                Command(SHARED_TRAINER, (str(number),), self.env, self.folder, self.log)
            )
            ended = asyncio.ensure_future(process.wait())
            try:
                await asyncio.wait({link, ended}, return_when=asyncio.FIRST_COMPLETED)
            except asyncio.CancelledError:  # the site was told to end
                process.kill()
                if link.done():
                    link.result()[1].close()
                raise
        finally:
            self._expected.pop(number, None)  # who comes now is sent away
        if not link.done():
            process.kill()
            raise NotStartedError(ended.result())
        self._all.add(trainer := Trainer(process, ended, *link.result()))
        return trainer

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        link = self._expected.pop(json.loads(line)["number"], None) if line else None
        if link is None or link.done():
            writer.close()
        else:
            link.set_result((reader, writer))

    async def _discard(self, trainer: Trainer) -> None:
        """Whatever a task left in its group goes with it."""
        self._all.discard(trainer)
        trainer.process.kill()
        trainer.writer.close()
        await asyncio.shield(trainer.ended)
