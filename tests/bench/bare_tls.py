"""The bytes of a big round over bare TLS sockets, hashed at both ends: what no implementation in Python can beat by much.

One server process (a thread per site) and a process per site; each site fetches `size` bytes and hashes them, then
hashes `size` bytes and sends them, which the server hashes. No HTTP, no disk, no tensors. `plain`: the same without TLS and
without a hash, for what these two cost.
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
PLAIN = "plain"  # a file beside the certificates: neither TLS nor a hash


def median_s(folder: Path, *, sites: int, size: int, repeats: int, plain: bool = False) -> float:
    """Median time in which all sites have fetched and sent, all at once, over connections that are open already."""
    certificates.write(folder)
    (folder / "size").write_text(str(size))
    if plain:
        (folder / PLAIN).touch()
    server, port = group.serving(_serve, folder)
    try:
        return median(group.timed(_site, sites, repeats + 1, folder, port, size)[1:])
    finally:
        server.kill()
        server.join()


def _site(barrier: Barrier, repeats: int, folder: Path, port: int, size: int) -> None:
    payload, buffer = bytes(size), bytearray(CHUNK)
    plain = _is_plain(folder)
    with socket.create_connection(("127.0.0.1", port)) as raw:
        context = certificates.client_context(folder)
        with raw if plain else context.wrap_socket(raw, server_hostname="127.0.0.1") as wire:
            for _ in range(repeats):
                barrier.wait(group.WAIT_S)
                wire.send(b"?")
                _receive(wire, size, buffer, hashed=not plain)
                if not plain:
                    hashlib.sha256(payload).digest()
                _send(wire, payload)
                wire.recv(1)
                barrier.wait(group.WAIT_S)


def _serve(folder: Path, parent: Connection) -> None:
    size = int((folder / "size").read_text())
    payload, context = bytes(size), None if _is_plain(folder) else certificates.server_context(folder)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        parent.send(listening.getsockname()[1])
        while True:
            raw, _ = listening.accept()
            threading.Thread(target=_serve_one, args=(context, raw, payload), daemon=True).start()


def _serve_one(context: ssl.SSLContext | None, raw: socket.socket, payload: bytes) -> None:
    buffer = bytearray(CHUNK)
    with raw if context is None else context.wrap_socket(raw, server_side=True) as wire:
        while wire.recv(1):
            _send(wire, payload)
            _receive(wire, len(payload), buffer, hashed=context is not None)
            wire.send(b".")


def _is_plain(folder: Path) -> bool:
    return (folder / PLAIN).exists()


def _send(wire: socket.socket, payload: bytes) -> None:
    view = memoryview(payload)
    for start in range(0, len(view), CHUNK):
        wire.sendall(view[start : start + CHUNK])


def _receive(wire: socket.socket, size: int, buffer: bytearray, *, hashed: bool) -> None:
    digest, left, view = hashlib.sha256(), size, memoryview(buffer)
    while left:
        count = wire.recv_into(view, min(left, len(view)))
        if not count:
            raise ConnectionError("the other end is gone")
        if hashed:
            digest.update(view[:count])
        left -= count
