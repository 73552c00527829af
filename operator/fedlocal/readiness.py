"""Asks a local HTTPS endpoint whether it is ready, as a kubelet's httpGet probe does. Called by kubelet.py."""

import asyncio
import contextlib
import ssl
from pathlib import Path

TIMEOUT_S = 5.0


def trusting(ca_file: Path) -> ssl.SSLContext:
    """A client context that trusts the job's CA alone."""
    return ssl.create_default_context(cafile=str(ca_file))


async def answers_ok(port: int, path: str, context: ssl.SSLContext) -> bool:
    """Whether GET https://127.0.0.1:port/path answers 2xx or 3xx."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            return await _status(port, path, context) in range(200, 400)
    except (OSError, ssl.SSLError, TimeoutError, ValueError, asyncio.IncompleteReadError):
        return False


async def _status(port: int, path: str, context: ssl.SSLContext) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
        line = await reader.readline()
        return int(line.split()[1]) if line.startswith(b"HTTP/") else 0
    finally:
        writer.close()
        with contextlib.suppress(OSError, ssl.SSLError):
            await writer.wait_closed()
