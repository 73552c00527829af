"""RabbitMQ (Debian's): AMQP 0.9.1 on loopback. Its Erlang starts a port mapper (epmd) of its own, which ends with it."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.errors import CannotRunError
from tests.cluster.shell import need
from tests.ports import free_ports
from tests.servers import programs
from tests.servers.process import Process, running

_HEADER = b"AMQP\x00\x00\x09\x01"


@dataclass
class RabbitServer:
    """Of one test session."""

    process: Process
    url: str


@contextmanager
def serving(folder: Path) -> Iterator[RabbitServer]:
    """Serves from this folder; durable queues survive `process.restart()`."""
    if not programs.RABBITMQ.exists():
        raise CannotRunError("missing: rabbitmq-server; run `make store-tools` first")
    folder.mkdir(parents=True, exist_ok=True)
    port, distribution, mapper = free_ports(3)
    (folder / "rabbitmq.conf").write_text(f"listeners.tcp.1 = 127.0.0.1:{port}\n")
    (folder / "enabled_plugins").write_text("[].\n")
    env = {
        "HOME": str(folder),
        "ERL_EPMD_PORT": str(mapper),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": f"fedloom{port}@localhost",
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 1:1 +sbwt none",
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_LOGS": "-",
        "RUNNING_UNDER_SYSTEMD": "1",  # the script becomes Erlang: a SIGKILL for it kills the broker, not a parent of it
        "RABBITMQ_PID_FILE": str(folder / "pid"),
    }
    process = Process([programs.RABBITMQ], folder / "rabbitmq.log", lambda: _answers(port), env, cwd=folder)
    try:
        with running(process):
            yield RabbitServer(process, f"amqp://guest:guest@127.0.0.1:{port}/")
    finally:
        _end_mapper(mapper)


def _answers(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(_HEADER)
        return bool(connection.recv(8))


def _end_mapper(port: int) -> None:
    """The one of this port: nobody else's."""
    subprocess.run([need("epmd"), "-port", str(port), "-kill"], check=False, capture_output=True)
