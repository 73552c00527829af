"""Free TCP ports of the loopback interface, for programs that are started later. Used by all rings and the cluster.

Not of the range that the system takes for outgoing connections: there, another process's connection may hold the port
by the time the program binds it, and whoever calls a server that is down may be connected to itself.
"""

import random
import socket

_LOWEST, _HIGHEST = 15_000, 29_999  # below Linux's outgoing connections (32768) and a cluster's NodePorts (30000)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on at this moment."""
    found: list[int] = []
    while len(found) < count:
        port = random.SystemRandom().randint(_LOWEST, _HIGHEST)
        if port not in found and _is_free(port):
            found.append(port)
    return found


def free_port() -> int:
    """One such port."""
    return free_ports(1)[0]


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
