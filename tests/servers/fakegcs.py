"""fake-gcs-server: Google Cloud Storage with generation preconditions. No authentication, signatures, expiry or KMS."""

import itertools
import json
import ssl
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from fedapi.wire.location import Gcs
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
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @cached_property
    def shared_bucket(self) -> str:
        """For tests that have a prefix of their own."""
        return self.bucket()

    def bucket(self) -> str:
        """The name of a new, empty bucket."""
        name = f"fedloom-{next(self._numbers)}"
        body = json.dumps({"name": name}).encode()
        request = urllib.request.Request(f"{self.endpoint}/storage/v1/b", body, {"Content-Type": "application/json"})
        with _opener(ssl.create_default_context(cafile=str(self.ca))).open(request, timeout=60):
            return name

    def place(self, bucket: str = "", prefix: str = "p") -> str:
        """A store's text; in a new bucket where none is named."""
        return Gcs(bucket or self.bucket(), prefix, self.endpoint).text()

    def credentials(self, folder: Path) -> Path:
        """Fills a folder as a mounted Secret has it: no key, nobody is asked for one."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "ca.crt").write_text(self.ca.read_text())
        return folder


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
    with _opener(context).open(f"{endpoint}/_internal/healthcheck", timeout=10) as answer:
        return answer.status == 200


def _opener(context: ssl.SSLContext) -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
