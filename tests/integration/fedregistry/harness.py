"""The registry as a process, over a table of moto's, and clients that speak HTTPS to it."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from fedapi import names
from fedapi.wire.tokens import heartbeat_token, reader_token, registry_key
from fedoperator.key_material import Keys, registry_files
from tests.ports import free_ports
from tests.waiting import PATIENCE_S, until

KEYS = Keys.generated(datetime.now(UTC))
KEY = registry_key(KEYS.master)
HOSTS = ("localhost", "127.0.0.1")


@dataclass
class Registry:
    """One process."""

    process: subprocess.Popen
    url: str
    monitoring: str
    folder: Path
    table: str

    @property
    def key(self) -> bytes:
        """From which its tokens derive."""
        return (self.folder / "credentials" / names.FILE_REGISTRY_KEY).read_bytes()

    def client(self) -> httpx.Client:
        """Trusts the installation's CA and nobody else."""
        import ssl

        context = ssl.create_default_context(cafile=str(self.folder / "credentials" / names.FILE_CA))
        return httpx.Client(base_url=self.url, verify=context, trust_env=False, timeout=PATIENCE_S)

    def heartbeat(self, http: httpx.Client, client_id: str, token: str | None = None, **said: Any) -> httpx.Response:
        """As a site sends it, with the site's token unless another is given."""
        headers = {"authorization": f"Bearer {token if token is not None else heartbeat_token(self.key, client_id)}"}
        return http.post("/heartbeat", json={"client_id": client_id, **said}, headers=headers)

    def sites(self, http: httpx.Client) -> dict[str, dict]:
        """As the operator reads them: a registry that has not read its table for some seconds is asked again."""
        headers = {"authorization": f"Bearer {reader_token(self.key)}"}
        answer = until(lambda: _unless_busy(http.get("/sites", headers=headers)))
        return {site["client_id"]: site for site in answer.json()["sites"]}

    def metric(self, name: str) -> float:
        """A line of /metrics; what was never counted has none."""
        lines = httpx.get(f"{self.monitoring}/metrics", trust_env=False, verify=False).text.splitlines()
        return float(next((line.rpartition(" ")[2] for line in lines if line.startswith(name)), 0))

    @property
    def log(self) -> str:
        """What it said."""
        return (self.folder / "registry.log").read_text()


@contextmanager
def running(
    folder: Path,
    endpoint: str,
    credentials: Path,
    *,
    ready: bool = True,
    files: Mapping[str, bytes] | None = None,
    **settings: Any,
) -> Iterator[Registry]:
    """Starts it with a table of its own, waits until it is ready, and ends it. `files`: of the Secret that an operator made."""
    (folder / "credentials").mkdir(parents=True, exist_ok=True)
    for name, content in (files or registry_files(KEYS, HOSTS, datetime.now(UTC))).items():
        (folder / "credentials" / name).write_bytes(content)
    port, monitoring = free_ports(2)
    chosen = {
        "table": f"sites-{uuid4().hex[:8]}", "region": "us-east-1", "endpoint": endpoint, "create_table": "true",
        "table_credentials_dir": credentials, "credentials_dir": folder / "credentials", "host": "127.0.0.1",
        "port": port, "monitoring_port": monitoring, "scan_s": 1,
    } | settings  # fmt: skip
    environment = {**os.environ, **{f"FEDLOOM_REGISTRY_{name.upper()}": str(value) for name, value in chosen.items()}}
    with (folder / "registry.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "fedregistry"], env=environment, stdout=log, stderr=log)
    started = Registry(
        process,
        f"https://127.0.0.1:{chosen['port']}",
        f"http://127.0.0.1:{chosen['monitoring_port']}",
        folder,
        chosen["table"],
    )
    try:
        if ready:
            until(lambda: _ready(started), not_yet=(httpx.TransportError, httpx.HTTPStatusError))
            with started.client() as http:
                started.sites(http)
        yield started
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _ready(started: Registry) -> bool:
    """As Kubernetes asks it; from then on sites can come."""
    if started.process.poll() is not None:
        raise AssertionError(started.log)
    return httpx.get(f"{started.monitoring}/readyz", trust_env=False, verify=False).raise_for_status().is_success


def _unless_busy(answer: httpx.Response) -> httpx.Response | None:
    return answer.raise_for_status() if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE else None
