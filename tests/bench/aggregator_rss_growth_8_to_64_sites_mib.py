"""How much the aggregator's peak memory (VmHWM) grows from 8 to 64 sites; model and updates of 100 MB, one round.

A real aggregator process per size; scripted sites over HTTPS that all take part and send the same bytes, at most 8
of them at a time in both cases, as sites of different speeds do; each keeps its connection. VmHWM counts mapped files too.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import numpy as np
from safetensors.numpy import save_file

from fedapi.wire.store import Head, Layout
from tests import certificates
from tests.bench import aggregator_process
from tests.bench.aggregator_process import JOB, NAMESPACE, UID, Running
from tests.bench.bench import Bench
from tests.bench.process import mib
from tests.bench.rows import Row
from tests.bench.scripted_site import Payload, ScriptedSite

PARAMETERS, FEW, MANY, AT_ONCE = 25_000_000, 8, 64, 8


def measure(bench: Bench) -> Row:
    """The row."""
    peaks = {count: _peak(bench.folder(f"aggregator-{count}"), count) for count in (FEW, MANY)}
    for count in peaks:
        bench.folder(f"aggregator-{count}")  # gives the disk back
    print("   peaks:", ", ".join(f"{count} sites {peak:.0f} MiB" for count, peak in peaks.items()))
    return Row("aggregator_rss_growth_8_to_64_sites_mib", peaks[MANY] - peaks[FEW], "MiB")


def _peak(folder: Path, count: int) -> float:
    sites = [f"site-{number:02d}" for number in range(count)]
    file = folder / "update.safetensors"
    save_file({"weight": np.full(PARAMETERS, 1e-3, np.float32)}, file)
    with aggregator_process.running(folder, sites, PARAMETERS) as aggregator:
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
