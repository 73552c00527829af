"""Whether the launchers of a generation can open connections to each other, before ranks hang trying. For participation.py.

Every launcher listens; worker 0 at its service, the others here. What is accepted is closed: arriving is the answer.
"""

import socket
import time
from concurrent.futures import ThreadPoolExecutor

from fedtrainer.errors import PeerUnreachableError
from fedtrainer.launch.generations import Generation, Worker
from fedtrainer.listening import Listener

CONNECT_S, PAUSE_S = 3.0, 0.25
AT_ONCE = 16


def listener(address: str) -> Listener:
    """A port of this launcher's own, of the address's family."""
    listening = socket.create_server(("", 0), family=_family(address), backlog=256)
    return Listener(listening, "reach", socket.socket.close)


def free_port(address: str) -> int:
    """A TCP port that is free now, for rank 0's rendezvous store."""
    with socket.create_server(("", 0), family=_family(address)) as probe:
        return int(probe.getsockname()[1])


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


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
            raise PeerUnreachableError(
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
