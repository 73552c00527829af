"""fake-gcs-server: Google Cloud Storage with generation preconditions. No authentication, signatures, expiry or KMS."""

import ssl
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests import certificates
from tests.ports import free_port
from tests.servers import programs
from tests.servers.process import Process, running


@dataclass
class GcsServer:
    """Of one test session."""

    process: Process
    endpoint: str
    ca: Path


@contextmanager
def serving(folder: Path) -> Iterator[GcsServer]:
    """Everything is in its memory."""
    folder.mkdir(parents=True, exist_ok=True)
    certificates.write(folder)
    port = free_port()
    endpoint = f"https://127.0.0.1:{port}"
    options = {
        "scheme": "https", "host": "127.0.0.1", "port": port, "public-host": f"127.0.0.1:{port}",
        "external-url": endpoint, "backend": "memory",
        "cert-location": folder / "tls.crt", "private-key-location": folder / "tls.key",
    }  # fmt: skip
    command = [programs.binary("fake-gcs-server"), *(f"-{name}={value}" for name, value in options.items())]
    context = certificates.client_context(folder)
    process = Process(command, folder / "fake-gcs-server.log", lambda: _answers(endpoint, context))
    with running(process):
        yield GcsServer(process, endpoint, folder / "ca.crt")


def _answers(endpoint: str, context: ssl.SSLContext) -> bool:
    handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    with urllib.request.build_opener(*handlers).open(f"{endpoint}/_internal/healthcheck", timeout=10) as answer:
        return answer.status == 200
