"""An aggregator's peak memory (VmHWM) in one round of large updates. Used by the rows aggregator_rss_….

A real aggregator process; scripted sites over HTTPS that all take part and send the same bytes, at most 8 of them at a
time, as sites of different speeds do; each keeps its connection. VmHWM counts mapped files too.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import numpy as np
from safetensors.numpy import save_file

from fedapi.wire.layout import Layout
from fedapi.wire.store import Head
from tests import certificates
from tests.bench import aggregator_process, memory_limit
from tests.bench.aggregator_process import JOB, NAMESPACE, UID, Running
from tests.bench.process import mib
from tests.bench.scripted_site import Payload, ScriptedSite

AT_ONCE = 8


def peak_mib(folder: Path, count: int, parameters: int, limit_bytes: int | None = None) -> float:
    """The aggregator's VmHWM after a round of so many sites. `limit_bytes`: of its memory, page cache and all, by the kernel."""
    sites = [f"site-{number:02d}" for number in range(count)]
    file = folder / "update.safetensors"
    save_file({"weight": np.full(parameters, 1e-3, np.float32)}, file)
    with ExitStack() as stack:
        aggregator = stack.enter_context(aggregator_process.running(folder, sites, parameters))
        if limit_bytes is not None:
            stack.enter_context(memory_limit.of(aggregator.pid, limit_bytes))
        _one_round(aggregator, sites, Payload.of(file))
        return mib(aggregator.pid, "VmHWM")


def _one_round(aggregator: Running, names: list[str], payload: Payload) -> None:
    with ExitStack() as connections, ThreadPoolExecutor(AT_ONCE) as pool:
        sites = [
            ScriptedSite.of(name, aggregator, connections.enter_context(_connection(aggregator))) for name in names
        ]
        aggregator_process.wait_for(aggregator.log, "the aggregator", lambda: aggregator_process.is_ready(aggregator))
        for site in sites:
            site.ask(0)
        list(pool.map(lambda site: site.takes_part(payload), sites))
    _committed(aggregator)


def _committed(aggregator: Running) -> None:
    head = aggregator.folder / "store" / Layout(NAMESPACE, JOB, UID).head
    committed = lambda: Head.model_validate_json(head.read_bytes()).round >= 1  # noqa: E731
    aggregator_process.wait_for(aggregator.log, "the commit of round 1", committed)


def _connection(aggregator: Running) -> httpx.Client:
    """Every site keeps a connection of its own, as trainers do."""
    return httpx.Client(verify=certificates.client_context(aggregator.folder), trust_env=False, timeout=120)
