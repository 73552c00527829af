"""A TLS connection that a test writes bytes to, as a client would that does not care for HTTP."""

import contextlib
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from fedapi import names
from fedapi.wire.tokens import site_token
from tests.integration.fedaggregator.harness import JOB_KEY, JobFolder
from tests.waiting import PATIENCE_S


class Raw:
    """One connection."""

    def __init__(self, job: JobFolder) -> None:
        context = ssl.create_default_context(cafile=str(job.root / "credentials" / names.FILE_CA))
        plain = socket.create_connection(("127.0.0.1", job.port), timeout=PATIENCE_S)
        self.socket = context.wrap_socket(plain, server_hostname="localhost")

    def send(self, data: bytes) -> bool:
        """Whether the other side took it."""
        try:
            self.socket.sendall(data)
        except OSError:
            return False
        return True

    def rest(self) -> bytes:
        """What comes until the other side ends the connection; TimeoutError when it does not."""
        received = b""
        while True:
            try:
                part = self.socket.recv(65536)
            except TimeoutError:
                raise
            except OSError:
                return received
            if not part:
                return received
            received += part

    def status(self) -> int:
        """Of the answer, 0 for none; the other side has to end the connection."""
        head = self.rest().split(b"\r\n")[0].split()
        return int(head[1]) if len(head) > 1 else 0


@contextmanager
def connected(job: JobFolder) -> Iterator[Raw]:
    """One that is closed afterwards."""
    raw = Raw(job)
    try:
        yield raw
    finally:
        with contextlib.suppress(OSError):
            raw.socket.close()


def asking(client: str, what: str = "next", **headers: object) -> bytes:
    """The head of a site's request."""
    lines = [
        f"POST /v1/sites/{client}/{what} HTTP/1.1",
        "host: x",
        f"authorization: Bearer {site_token(JOB_KEY, client)}",
    ]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()
