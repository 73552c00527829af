"""Asks a local HTTP endpoint whether it is ready, as a kubelet's httpGet probe does. Called by kubelet.py."""

import asyncio
import contextlib

TIMEOUT_S = 5.0


async def answers_ok(port: int, path: str) -> bool:
    """Whether GET http://127.0.0.1:port/path answers 2xx or 3xx."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            return await _status(port, path) in range(200, 400)
    except (OSError, TimeoutError, ValueError, IndexError):
        return False


async def _status(port: int, path: str) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
        line = await reader.readline()
        return int(line.split()[1]) if line.startswith(b"HTTP/") else 0
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
