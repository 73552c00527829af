"""A way over IPv4's loopback to an address of IPv6, for libraries that speak IPv4 alone. Used by horovod.py.

Each connection to the relay is one to the target; bytes go both ways until both ends have finished.
"""

import socket
import threading
from contextlib import suppress

from fedtrainer.listening import Listener

LOOPBACK = "127.0.0.1"  # a pod without any other IPv4 address has this one
_CONNECT_S = 10.0
_PIECE = 1 << 16


def relay(address: str, port: int) -> Listener:
    """The near end of the way, for as long as the block lasts."""

    def serve(near: socket.socket) -> None:
        threading.Thread(target=_serve, args=(near, (address, port)), name="relay", daemon=True).start()

    return Listener(socket.create_server((LOOPBACK, 0), backlog=64), "relay", serve)


def _serve(near: socket.socket, target: tuple[str, int]) -> None:
    with near, suppress(OSError), socket.create_connection(target, _CONNECT_S) as far:
        far.settimeout(None)
        back = threading.Thread(target=_pump, args=(far, near), name="relay", daemon=True)
        back.start()
        _pump(near, far)
        back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Copies to the end, which the other side is then told."""
    with suppress(OSError):
        while piece := source.recv(_PIECE):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)
