"""Objects put into and got from SeaweedFS over TLS, by ours and by its rivals in turn. Used by store_put_vs_bare and …get….

One client at a time, in rounds, so that all meet the same machine; medians of the rounds after the first.
"""

import time
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Self

from tests.bench import group, store_clients
from tests.servers import weed

SIZE, ROUNDS = 256 << 20, 5
_WAIT_S = 600.0


@dataclass(frozen=True)
class Speed:
    """Seconds to put and to get an object, by client."""

    put: dict[str, float]
    get: dict[str, float]


def measured(folder: Path, size: int = SIZE, rounds: int = ROUNDS) -> Speed:
    """Starts the server and the clients, and ends them."""
    put: dict[str, list[float]] = {name: [] for name in store_clients.CLIENTS}
    get: dict[str, list[float]] = {name: [] for name in store_clients.CLIENTS}
    with weed.serving(folder / "weed") as server, ExitStack() as stack:
        bucket, credentials = server.bucket(), server.credentials(folder / "credentials")
        clients = {
            name: stack.enter_context(_Client(name, server.endpoint, bucket, credentials, size))
            for name in store_clients.CLIENTS
        }
        for number in range(rounds + 1):
            for name, client in clients.items():
                key = f"{name.replace(' ', '-')}-{number}"
                put[name].append(client.timed("put", key))
                get[name].append(client.timed("get", key))
                with server.clients() as cleaner:
                    for prefix in ("", "p/"):
                        cleaner.delete_object(Bucket=bucket, Key=f"{prefix}{key}")
    speed = Speed(_medians(put), _medians(get))
    mib = size / (1 << 20)
    print("   " + ", ".join(f"{name}: {mib / speed.put[name]:.0f} / {mib / speed.get[name]:.0f} MiB/s" for name in put))
    return speed


def best_rival(seconds: dict[str, float]) -> float:
    """Of all but ours."""
    return min(value for name, value in seconds.items() if name != "ours")


def _medians(found: dict[str, list[float]]) -> dict[str, float]:
    return {name: median(each[1:]) for name, each in found.items()}


class _Client:
    """A process of store_clients."""

    def __init__(self, name: str, endpoint: str, bucket: str, credentials: Path, size: int) -> None:
        self._orders: Connection
        self._orders, theirs = group.SPAWN.Pipe()
        args = (name, endpoint, bucket, credentials, size, theirs)
        self._process = group.SPAWN.Process(target=store_clients.act, args=args, daemon=True)

    def __enter__(self) -> Self:
        self._process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._orders.close()
        self._process.kill()
        self._process.join()

    def timed(self, what: str, key: str) -> float:
        """Seconds."""
        started = time.monotonic()
        self._orders.send((what, key))
        if not self._orders.poll(_WAIT_S):
            raise RuntimeError(f"no answer to {what} {key}")
        self._orders.recv()
        return time.monotonic() - started
