"""azurite: Azure Blob Storage with conditions, leases and SAS. No versioning, immutability or customer's keys."""

import base64
import hashlib
import itertools
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from fedapi.wire.location import Azure
from tests import certificates
from tests.ports import free_port
from tests.servers import programs
from tests.servers.process import Process, running

ACCOUNT = "fedloomtest"
KEY = base64.b64encode(hashlib.sha512(b"a key of tests alone").digest()).decode()


@dataclass
class AzuriteServer:
    """Of one test session. `endpoint` names the account, as azurite wants it in the path."""

    process: Process
    endpoint: str
    ca: Path
    account: str = ACCOUNT
    key: str = KEY
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @cached_property
    def shared_bucket(self) -> str:
        """For tests that have a prefix of their own."""
        return self.container()

    def container(self) -> str:
        """The name of a new, empty container."""
        from azure.storage.blob import ContainerClient

        name = f"fedloom-{next(self._numbers)}"
        credential = {"account_name": self.account, "account_key": self.key}
        with ContainerClient(self.endpoint, name, credential=credential, connection_verify=str(self.ca)) as client:
            client.create_container()
        return name

    def place(self, container: str = "", prefix: str = "p") -> str:
        """A store's text; in a new container where none is named."""
        return Azure(self.account, container or self.container(), prefix, self.endpoint).text()

    def credentials(self, folder: Path, key: str = KEY) -> Path:
        """Fills a folder as a mounted Secret has it."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "AZURE_STORAGE_KEY").write_text(key)
        (folder / "ca.crt").write_text(self.ca.read_text())
        return folder


@contextmanager
def serving(folder: Path) -> Iterator[AzuriteServer]:
    """Serves from this folder."""
    (folder / "data").mkdir(parents=True)
    certificates.write(folder)
    port = free_port()
    command = [
        programs.binary(programs.AZURITE), "--blobHost", "127.0.0.1", "--blobPort", str(port),
        "--location", folder / "data", "--cert", folder / "tls.crt", "--key", folder / "tls.key",
        "--silent", "--disableTelemetry", "--skipApiVersionCheck",
    ]  # fmt: skip
    env = {"AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"}
    process = Process(command, folder / "azurite.log", lambda: _answers(port, folder), env, cwd=folder)
    with running(process):
        yield AzuriteServer(process, f"https://127.0.0.1:{port}/{ACCOUNT}", folder / "ca.crt")


def _answers(port: int, folder: Path) -> bool:
    with (
        socket.create_connection(("127.0.0.1", port), 10) as plain,
        certificates.client_context(folder).wrap_socket(plain, server_hostname="127.0.0.1"),
    ):
        return True
