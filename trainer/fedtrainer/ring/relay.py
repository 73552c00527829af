"""A way over IPv4's loopback to an address of IPv6, for libraries that speak IPv4 alone. Used by horovod.py.

Each connection to the relay is one to the target; bytes go both ways until both ends have finished.
"""

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

LOOPBACK = "127.0.0.1"  # a pod without any other IPv4 address has this one
_CONNECT_S = 10.0
_PIECE = 1 << 16


class Relay:
    """A port of this machine's own, for as long as the block lasts."""

    def __init__(self, address: str, port: int) -> None:
        self._target = address, port
        self._socket = socket.create_server((LOOPBACK, 0), backlog=64)
        self.port = int(self._socket.getsockname()[1])

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, name="relay", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread
        self._socket.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near = self._socket.accept()[0]
                threading.Thread(target=self._serve, args=(near,), name="relay", daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with near, suppress(OSError), socket.create_connection(self._target, _CONNECT_S) as far:
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
