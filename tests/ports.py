"""Free TCP ports of the loopback interface, for programs that are started later. Used by all rings and the cluster.

Not of the range that the system takes for outgoing connections: there, another process's connection may hold the port
by the time the program binds it, and whoever calls a server that is down may be connected to itself.

All processes of a user take them in turn from one counter in a file: two tests that begin at the same moment are never
given the same port, however long their programs take to bind it.
"""

import fcntl
import os
import random
import socket
from pathlib import Path

# Above the port that images are pushed to (15055), below a cluster's NodePorts (30000) and outgoing connections (32768).
LOWEST, HIGHEST = 15_100, 29_999
_COUNTER = Path("/tmp") / f"fedloom-test-ports-{os.getuid()}"  # whatever folder a process has for temporary files


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on at this moment, and that nobody else is given for thousands of calls."""
    found: list[int] = []
    with _COUNTER.open("a+") as counter:
        fcntl.flock(counter, fcntl.LOCK_EX)
        counter.seek(0)
        port = _last_given(counter.read())
        while len(found) < count:
            port = port + 1 if port < HIGHEST else LOWEST
            if _is_free(port):
                found.append(port)
        counter.truncate(0)
        counter.write(str(port))
    return found


def free_port() -> int:
    """One such port."""
    return free_ports(1)[0]


def _last_given(text: str) -> int:
    """The counter's port; any of the range when there is none yet, or when a killed process left half of one."""
    if text.isdigit() and LOWEST <= int(text) <= HIGHEST:
        return int(text)
    return random.SystemRandom().randint(LOWEST, HIGHEST)


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
