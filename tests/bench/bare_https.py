"""Small HTTPS round trips with the libraries that the aggregator and the trainer use, and nothing behind them.

The peer of the round overheads: uvicorn with TLS in one process, httpx with kept connections in the others.
"""

import socket
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import uvicorn

from fedapi import names
from tests import certificates
from tests.bench import group

BODY = b"{}".ljust(512)


def median_s(folder: Path, *, processes: int, trips: int, repeats: int) -> float:
    """Median time in which every process has made its round trips, one after another, all processes at once."""
    certificates.write(folder)
    server, port = group.serving(_serve, folder)
    try:
        return median(group.timed(_ask, processes, repeats + 1, folder, port, trips)[1:])
    finally:
        server.kill()
        server.join()


def _ask(barrier: Barrier, repeats: int, folder: Path, port: int, trips: int) -> None:
    with httpx.Client(verify=certificates.client_context(folder), trust_env=False) as client:
        for _ in range(repeats):
            barrier.wait(group.WAIT_S)
            for _ in range(trips):
                client.post(f"https://127.0.0.1:{port}/", content=BODY).raise_for_status()
            barrier.wait(group.WAIT_S)


async def _answer(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": BODY})


def _serve(folder: Path, parent: Connection) -> None:
    config = uvicorn.Config(
        _answer,
        lifespan="off",
        log_level="error",
        ssl_certfile=folder / names.FILE_TLS_CERT,
        ssl_keyfile=str(folder / names.FILE_TLS_KEY),
    )
    listening = socket.create_server(("127.0.0.1", 0))
    parent.send(listening.getsockname()[1])
    uvicorn.Server(config).run([listening])
