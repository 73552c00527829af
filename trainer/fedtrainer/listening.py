"""A listening socket whose connections are taken in a thread. Used by launch/reach.py and ring/relay.py."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self


class Listener:
    """A port of this process's own, for as long as the block lasts; each connection goes to `serve`, which must not wait."""

    def __init__(self, listening: socket.socket, name: str, serve: Callable[[socket.socket], None]) -> None:
        self._socket, self._name, self._serve = listening, name, serve
        self.port = int(listening.getsockname()[1])

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, name=self._name, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread
        self._socket.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                self._serve(self._socket.accept()[0])
