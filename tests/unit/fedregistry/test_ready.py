"""The registry calls itself ready when its server listens, and no moment earlier."""

import asyncio
import signal
from datetime import UTC, datetime

from fedaggregator.http.server import Server
from fedaggregator.limits import Limits
from fedoperator.key_material import Keys, registry_files
from fedregistry import __main__ as registry
from fedregistry.settings import Settings
from tests.ports import free_ports


class Table:
    """Fits, and is empty."""

    @classmethod
    def open(cls, *_):
        return cls()

    def check(self):
        """Nothing is wrong with it."""

    def settle(self, _):
        return ()

    def close(self):
        """Nothing is open."""


async def ready(port):
    """The first line of the answer to who asks whether it is."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /readyz HTTP/1.1\r\n\r\n")
    line = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return line


def test_who_does_not_listen_yet_is_not_ready(tmp_path, monkeypatch):
    keys = Keys.generated(datetime.now(UTC))
    for name, content in registry_files(keys, ("localhost",), datetime.now(UTC)).items():
        (tmp_path / name).write_bytes(content)
    port, monitoring = free_ports(2)
    settings = Settings(
        table="sites",
        backup_every_hours=0,
        credentials_dir=tmp_path,
        host="127.0.0.1",
        port=port,
        monitoring_port=monitoring,
    )
    startup, answers = Server.startup, []

    async def asked_around(self, sockets=None):
        answers.append(await ready(monitoring))
        await startup(self, sockets)
        answers.append(await ready(monitoring))
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(registry, "DynamoSites", Table)
    monkeypatch.setattr(Server, "startup", asked_around)
    asyncio.run(registry.serve(settings, Limits()))
    assert [line.split()[1] for line in answers] == [b"503", b"200"]
