"""A rank without training, for the launcher's tests: joined to rank 0 by a TCP connection, told what to do by files.

It ends as a rank of the trainer does: 31 when a peer is gone, 143 at SIGTERM, 0 when rank 0 says that all is done.
"""

import json
import os
import select
import socket
import sys
import time
from pathlib import Path

from fedtrainer import termination
from fedtrainer.errors import Terminated
from fedtrainer.launch.lifeline import hold
from fedtrainer.ring.slot import Slot

FOLDER = Path(os.environ["LAUNCH_TEST_FOLDER"])


def peers(slot: Slot) -> list[socket.socket]:
    address = (slot.addresses[0], slot.store_port)
    if slot.rank == 0:
        with socket.create_server(address) as server:
            return [server.accept()[0] for _ in range(slot.size - 1)]
    while True:
        try:
            return [socket.create_connection(address)]
        except OSError:
            time.sleep(0.02)


def order(slot: Slot) -> str:
    """The first line that a test has left for this rank, once."""
    path = FOLDER / f"order-{slot.rank}"
    try:
        words = path.read_text()
    except FileNotFoundError:
        return ""
    path.unlink()
    return words


def work(slot: Slot) -> int:
    connections = peers(slot)
    seen = {**slot.__dict__, "pid": os.getpid(), "omp": os.environ["OMP_NUM_THREADS"]}
    part = FOLDER / f".{slot.generation}-{slot.rank}"
    part.write_text(json.dumps(seen))
    part.rename(FOLDER / f"rank-{slot.generation}-{slot.rank}.json")
    print("works", flush=True)
    while True:
        for connection in select.select(connections, [], [], 0.02)[0]:
            return 0 if connection.recv(1) else 31
        words = order(slot)
        if words == "finish":
            for connection in connections:
                connection.send(b"x")
            return 0
        if words:
            code, _, line = words.partition(" ")
            termination.leave_reason(line)
            return int(code)
        if slot.rank == 0 and termination.regroup_wanted():
            return 31


def main() -> int:
    termination.install()
    hold()
    slot = Slot.read()
    assert slot is not None
    try:
        return work(slot)
    except Terminated as signalled:
        return 128 + signalled.number
    except OSError:
        return 31


if __name__ == "__main__":
    sys.exit(main())
