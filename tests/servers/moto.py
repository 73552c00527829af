"""moto's server: DynamoDB, SQS, KMS keys, events of S3 to SQS and cold classes, over HTTP, as one process of this Python.

It checks no signature, no expiry and no checksum: what depends on those is tested with weed.py and minio.py.
"""

import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.ports import free_port
from tests.servers.process import Process, running
from tests.servers.s3server import S3Server


@contextmanager
def serving(folder: Path) -> Iterator[S3Server]:
    """All services at one endpoint; `client(service)` speaks to them. Everything is in its memory."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = Process(command, folder / "moto.log", lambda: _ask(endpoint, "data.json"))
    with running(process):
        yield S3Server(process, endpoint, folder)


def forget_all(server: S3Server) -> None:
    """All services are empty afterwards: keys of the KMS are gone, which their scheduled deletion does not do here."""
    _ask(server.endpoint, "reset", "POST")


def _ask(endpoint: str, what: str, method: str = "GET") -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(f"{endpoint}/moto-api/{what}", method=method)
    with opener.open(request, timeout=10) as answer:
        return answer.status == 200
