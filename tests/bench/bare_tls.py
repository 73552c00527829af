"""The bytes of a big round over bare TLS sockets, hashed at both ends: what no implementation in Python can beat by much.

One server process (a thread per site) and a process per site; each site fetches `size` bytes and hashes them, then
hashes `size` bytes and sends them, which the server hashes. No HTTP, no disk, no tensors. `parts`: which of TLS, digests and
signatures there are, for what each costs; a signature is of a statement of 1 KB over the digest, as a site's of an update.
"""

import hashlib
import socket
import ssl
import threading
from collections.abc import Collection
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path
from statistics import median

from fedapi import names
from fedapi.wire.signing import SigningKey, verifies
from tests import certificates
from tests.bench import group

CHUNK = 1 << 20
TLS, DIGESTS, SIGNATURES = "tls", "digests", "signatures"
_PARTS = "parts"  # a file beside the certificates: which there are
_SIGNATURE_BYTES, _STATEMENT = 88, bytes(1024)


def median_s(folder: Path, *, sites: int, size: int, repeats: int, parts: Collection[str] = (TLS, DIGESTS)) -> float:
    """Median time in which all sites have fetched and sent, all at once, over connections that are open already."""
    certificates.write(folder)
    (folder / names.FILE_SIGNING_KEY).write_bytes(SigningKey.generated().pem())
    (folder / "size").write_text(str(size))
    (folder / _PARTS).write_text(" ".join(sorted(parts)))
    server, port = group.serving(_serve, folder)
    try:
        return median(group.timed(_site, sites, repeats + 1, folder, port, size)[1:])
    finally:
        server.kill()
        server.join()


def _site(barrier: Barrier, repeats: int, folder: Path, port: int, size: int) -> None:
    payload, buffer, parts, key = bytes(size), bytearray(CHUNK), _parts(folder), _key(folder)
    with socket.create_connection(("127.0.0.1", port)) as raw:
        context = certificates.client_context(folder)
        with context.wrap_socket(raw, server_hostname="127.0.0.1") if TLS in parts else raw as wire:
            for _ in range(repeats):
                barrier.wait(group.WAIT_S)
                wire.send(b"?")
                _receive(wire, size, buffer, hashed=DIGESTS in parts)
                digest = hashlib.sha256(payload).digest() if DIGESTS in parts else b""
                _send(wire, payload)
                if SIGNATURES in parts:
                    wire.sendall(key.signature(_STATEMENT + digest).encode())
                wire.recv(1)
                barrier.wait(group.WAIT_S)


def _serve(folder: Path, parent: Connection) -> None:
    size, parts, key = int((folder / "size").read_text()), _parts(folder), _key(folder)
    payload, context = bytes(size), certificates.server_context(folder) if TLS in parts else None
    with socket.create_server(("127.0.0.1", 0)) as listening:
        parent.send(listening.getsockname()[1])
        while True:
            raw, _ = listening.accept()
            threading.Thread(target=_serve_one, args=(context, raw, payload, parts, key.raw), daemon=True).start()


def _serve_one(
    context: ssl.SSLContext | None, raw: socket.socket, payload: bytes, parts: frozenset[str], key: bytes
) -> None:
    buffer = bytearray(CHUNK)
    with raw if context is None else context.wrap_socket(raw, server_side=True) as wire:
        while wire.recv(1):
            _send(wire, payload)
            digest = _receive(wire, len(payload), buffer, hashed=DIGESTS in parts)
            if SIGNATURES in parts and not verifies(key, _read(wire, _SIGNATURE_BYTES), _STATEMENT + digest):
                raise ValueError("a signature does not verify")
            wire.send(b".")


def _parts(folder: Path) -> frozenset[str]:
    return frozenset((folder / _PARTS).read_text().split())


def _key(folder: Path) -> SigningKey:
    return SigningKey.of_pem((folder / names.FILE_SIGNING_KEY).read_bytes())


def _send(wire: socket.socket, payload: bytes) -> None:
    view = memoryview(payload)
    for start in range(0, len(view), CHUNK):
        wire.sendall(view[start : start + CHUNK])


def _receive(wire: socket.socket, size: int, buffer: bytearray, *, hashed: bool) -> bytes:
    """The digest of what came; empty where it is not hashed."""
    digest, left, view = hashlib.sha256(), size, memoryview(buffer)
    while left:
        count = wire.recv_into(view, min(left, len(view)))
        if not count:
            raise ConnectionError("the other end is gone")
        if hashed:
            digest.update(view[:count])
        left -= count
    return digest.digest() if hashed else b""


def _read(wire: socket.socket, size: int) -> str:
    data = b""
    while len(data) < size and (part := wire.recv(size - len(data))):
        data += part
    return data.decode()
