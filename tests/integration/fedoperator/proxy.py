"""A TCP proxy that a test can freeze: connections stay open and say nothing, as when a network drops packets."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class FreezingProxy:
    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._flowing = threading.Event()
        self._flowing.set()
        self._open: list[socket.socket] = []
        self._left = float("inf")  # bytes of answers until it freezes by itself

    def freeze(self) -> None:
        self._flowing.clear()

    def freeze_after(self, answered: int) -> None:
        """Freezes in the middle of an answer, when so many bytes of answers have come."""
        self._left = answered

    @property
    def frozen(self) -> bool:
        return not self._flowing.is_set()

    def thaw(self) -> None:
        self._flowing.set()

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._server.accept()
                far = socket.create_connection(self._target)
                self._open += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(source, sink, source is far), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if answers:
                    self._left -= len(data)
                    if self._left <= 0:
                        self._left = float("inf")
                        self.freeze()
                self._flowing.wait()
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.thaw()
        for end in (self._server, *self._open):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@contextmanager
def proxy_to(server: str) -> Iterator[FreezingProxy]:
    host, _, port = server.removeprefix("https://").partition(":")
    proxy = FreezingProxy(host, int(port))
    thread = threading.Thread(target=proxy.serve, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join(5)
