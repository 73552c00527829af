"""Whether the launchers of a generation can open connections to each other, before ranks hang trying. For turn.py.

Every launcher listens; worker 0 at its service, the others here. What is accepted is closed: arriving is the answer.
"""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType
from typing import Self

from fedtrainer.errors import PeerUnreachable
from fedtrainer.launch.generations import Generation, Worker

CONNECT_S, PAUSE_S = 3.0, 0.25
AT_ONCE = 16


class Listener:
    """A port of this launcher's own, for as long as the block lasts."""

    def __init__(self, address: str) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._socket = socket.create_server(("", 0), family=family, backlog=256)
        self.port = int(self._socket.getsockname()[1])

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, name="reach", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread
        self._socket.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                self._socket.accept()[0].close()


def free_port(address: str) -> int:
    """A TCP port that is free now, for rank 0's meeting store."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server(("", 0), family=family) as probe:
        return int(probe.getsockname()[1])


def check(generation: Generation, worker: int, limit_s: float) -> None:
    """PeerUnreachable names the first peer that `worker` could not reach within the limit."""
    us = next(member for member in generation.members if member.worker == worker)
    peers = [member for member in generation.members if member.worker != worker]
    if not peers:
        return
    end = time.monotonic() + limit_s
    with ThreadPoolExecutor(min(AT_ONCE, len(peers)), "reach") as threads:
        problems = list(threads.map(lambda peer: _problem(peer, end), peers))
    for peer, problem in zip(peers, problems, strict=True):
        if problem:
            raise PeerUnreachable(
                f"worker {worker} ({us.address}) cannot reach worker {peer.worker} ({peer.address}) on port "
                f"{peer.reach_port}: {problem}"
            )


def _problem(peer: Worker, end: float) -> str:
    while True:
        try:
            socket.create_connection((peer.address, peer.reach_port), CONNECT_S).close()
        except OSError as error:
            if time.monotonic() > end:
                return error.strerror or str(error)
        else:
            return ""
        time.sleep(PAUSE_S)
