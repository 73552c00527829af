"""The aggregator as a process on this machine, with the environment that its Deployment would give it."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np
from safetensors.numpy import save_file

from fedaggregator import handin
from fedapi import names
from fedapi.wire.job import JobConfig
from fedapi.wire.layout import Layout
from fedapi.wire.roster import RosterEntry
from fedapi.wire.store import Head
from fedoperator.key_material import aggregator_files, init_files
from tests import certificates
from tests.ports import free_ports

NAMESPACE, JOB, UID = "bench", "bench", "00000000-0000-4000-8000-000000000001"
END_S = 20.0


@dataclass(frozen=True)
class Running:
    """Where it is."""

    pid: int
    url: str
    monitoring: str  # base URL of probes and metrics
    folder: Path  # ca.crt, job.key; below store/: its volume
    log: Path


@contextmanager
def running(folder: Path, sites: list[str], parameters: int, rounds: int = 2) -> Iterator[Running]:
    """Starts it, hands in a model of that many float32 numbers, so many rounds to do; ends it by its pid."""
    port, monitoring = free_ports(2)
    environment = {**os.environ, **_prepare(folder, sites, parameters, port, rounds)}
    environment[names.ENV_MONITORING_PORT] = str(monitoring)
    log = folder / "aggregator.log"
    with log.open("wb") as sink:
        process = subprocess.Popen([sys.executable, "-m", "fedaggregator"], env=environment, stdout=sink, stderr=sink)
    threading.Thread(target=_hand_in, args=(folder, f"https://127.0.0.1:{port}"), daemon=True).start()
    try:
        yield Running(process.pid, f"https://127.0.0.1:{port}", f"http://127.0.0.1:{monitoring}", folder, log)
    finally:
        process.terminate()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def is_ready(aggregator: Running) -> bool:
    """Whether sites may come and there is a model."""
    head = aggregator.folder / "store" / Layout(NAMESPACE, JOB, UID).head
    try:
        answers = httpx.get(f"{aggregator.monitoring}/readyz", trust_env=False, verify=False).is_success
        return answers and Head.model_validate_json(head.read_bytes()).round >= 0
    except (httpx.TransportError, OSError):
        return False


def wait_for(log: Path, what: str, fact: object, timeout_s: float = 120.0) -> None:
    """Polls; the aggregator's log tells why when it does not come true."""
    until = time.monotonic() + timeout_s
    while not fact():  # type: ignore[operator]
        if time.monotonic() > until:
            raise TimeoutError(f"waited {timeout_s:.0f} s for {what}:\n{log.read_text()[-3000:]}")
        time.sleep(0.1)


def _hand_in(folder: Path, url: str) -> None:
    """What the init Job's second container does."""
    init = folder / "init"
    handin.run(handin.Settings(job_uid=UID, aggregator_url=url, credentials_dir=init, init_dir=init))


def _prepare(folder: Path, sites: list[str], parameters: int, port: int, rounds: int) -> dict[str, str]:
    """Files as the operator and the task's init step leave them, and the environment that names them."""
    store, init = folder / "store", folder / "init"
    init.mkdir(parents=True)
    save_file({"weight": np.zeros(parameters, np.float32)}, init / names.INIT_MODEL_FILE)
    keys = certificates.write(folder)
    for name, content in init_files(keys, UID, datetime.now(UTC)).items():
        (init / name).write_bytes(content)
    for name, content in aggregator_files(keys, UID, ["localhost", "127.0.0.1"], datetime.now(UTC)).items():
        (folder / name).write_bytes(content)
    roster = tuple(RosterEntry(name=site) for site in sites)
    config = JobConfig(
        namespace=NAMESPACE, name=JOB, uid=UID, rounds=rounds, min_available=len(sites), roster=roster, deadline_s=900
    )
    (folder / names.CONFIG_FILE).write_text(config.model_dump_json())
    return {
        names.ENV_JOB: JOB,
        names.ENV_NAMESPACE: NAMESPACE,
        names.ENV_JOB_UID: UID,
        names.ENV_CONFIG_FILE: str(folder / names.CONFIG_FILE),
        names.ENV_STORE: str(store),
        names.ENV_CREDENTIALS_DIR: str(folder),
        names.ENV_HOST: "127.0.0.1",
        names.ENV_PORT: str(port),
        names.ENV_PUBLIC_URL: f"https://127.0.0.1:{port}",
        names.ENV_STATUS: f"file:{folder / 'status.json'}",
        names.ENV_TERMINATION_LOG: str(folder / "termination.log"),
    }
