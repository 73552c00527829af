"""The bytes of a big round over bare TLS sockets, hashed at both ends: what no implementation in Python can beat by much.

One server process (a thread per site) and a process per site; each site fetches `size` bytes and hashes them, then
hashes `size` bytes and sends them, which the server hashes. No HTTP, no disk, no tensors.
"""

import hashlib
import socket
import ssl
import threading
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path
from statistics import median

from tests import certificates
from tests.bench import group

CHUNK = 1 << 20


def median_s(folder: Path, *, sites: int, size: int, repeats: int) -> float:
    """Median time in which all sites have fetched and sent, all at once, over connections that are open already."""
    certificates.write(folder)
    (folder / "size").write_text(str(size))
    server, port = group.serving(_serve, folder)
    try:
        return median(group.timed(_site, sites, repeats + 1, folder, port, size)[1:])
    finally:
        server.kill()
        server.join()


def _site(barrier: Barrier, repeats: int, folder: Path, port: int, size: int) -> None:
    payload, buffer = bytes(size), bytearray(CHUNK)
    with socket.create_connection(("127.0.0.1", port)) as raw:
        context = certificates.client_context(folder)
        with context.wrap_socket(raw, server_hostname="127.0.0.1") as wire:
            for _ in range(repeats):
                barrier.wait(group.WAIT_S)
                wire.send(b"?")
                _receive(wire, size, buffer)
                hashlib.sha256(payload).digest()
                _send(wire, payload)
                wire.recv(1)
                barrier.wait(group.WAIT_S)


def _serve(folder: Path, parent: Connection) -> None:
    size = int((folder / "size").read_text())
    payload, context = bytes(size), certificates.server_context(folder)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        parent.send(listening.getsockname()[1])
        while True:
            raw, _ = listening.accept()
            threading.Thread(target=_serve_one, args=(context, raw, payload), daemon=True).start()


def _serve_one(context: ssl.SSLContext, raw: socket.socket, payload: bytes) -> None:
    buffer = bytearray(CHUNK)
    with context.wrap_socket(raw, server_side=True) as wire:
        while wire.recv(1):
            _send(wire, payload)
            _receive(wire, len(payload), buffer)
            wire.send(b".")


def _send(wire: ssl.SSLSocket, payload: bytes) -> None:
    view = memoryview(payload)
    for start in range(0, len(view), CHUNK):
        wire.sendall(view[start : start + CHUNK])


def _receive(wire: ssl.SSLSocket, size: int, buffer: bytearray) -> None:
    digest, left, view = hashlib.sha256(), size, memoryview(buffer)
    while left:
        count = wire.recv_into(view, min(left, len(view)))
        if not count:
            raise ConnectionError("the other end is gone")
        digest.update(view[:count])
        left -= count
