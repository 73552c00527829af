"""moto's server: DynamoDB, SQS, KMS keys, events of S3 to SQS and cold classes, as one process of this Python.

It checks no signature, no expiry and no checksum: what depends on those is tested with weed.py and minio.py.
"""

import ssl
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedapi import names
from tests import certificates
from tests.ports import free_port
from tests.servers.process import Process, running
from tests.servers.s3server import S3Server


@contextmanager
def serving(folder: Path, host: str = "127.0.0.1", *, tls: bool = False) -> Iterator[S3Server]:
    """All services at one endpoint; `client(service)` speaks to them. Everything is in its memory."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    endpoint, ca, words = f"http://{host}:{port}", None, []
    if tls:
        certificates.write(folder, host)
        endpoint, ca = f"https://{host}:{port}", folder / names.FILE_CA
        words = ["-s", "-c", str(folder / names.FILE_TLS_CERT), "-k", str(folder / names.FILE_TLS_KEY)]
    command = [sys.executable, "-m", "moto.server", "-H", host, "-p", str(port), *words]
    process = Process(command, folder / "moto.log", lambda: _ask(server, "data.json"))
    server = S3Server(process, endpoint, folder, ca)
    with running(process):
        yield server


def forget_all(server: S3Server) -> None:
    """All services are empty afterwards: keys of the KMS are gone, which their scheduled deletion does not do here."""
    _ask(server, "reset", "POST")


def _ask(server: S3Server, what: str, method: str = "GET") -> bool:
    trusted = ssl.create_default_context(cafile=str(server.ca) if server.ca else None)
    handlers = urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trusted)
    request = urllib.request.Request(f"{server.endpoint}/moto-api/{what}", method=method)
    with urllib.request.build_opener(*handlers).open(request, timeout=10) as answer:
        return answer.status == 200
