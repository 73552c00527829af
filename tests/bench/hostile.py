"""An aggregator under all of hostile_clients.py, its peak memory, and how long /healthz takes meanwhile.

Measured once for both rows: hostile_rss_growth_mib and hostile_healthz_p99_s. A model of 50 MiB, 64 sites. The prober asks
as the kubelet does: a new connection each time; a probe that fails counts as one that took its whole time-out.
"""

import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.bench import aggregator_process
from tests.bench.aggregator_process import Running
from tests.bench.process import mib

PARAMETERS, SITES = 50 * (1 << 20) // 4, 64
EVERY_S, TIMEOUT_S = 0.05, 5.0
END_S = 300.0


@dataclass(frozen=True)
class Hostile:
    """What was measured."""

    growth_mib: float
    healthz_s: list[float]


@dataclass
class Prober:
    """Asks /healthz until it is ended."""

    aggregator: Running
    times: list[float] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """One after the other."""
        while not self.ended.wait(EVERY_S):
            began = time.monotonic()
            try:
                with httpx.Client(trust_env=False, timeout=TIMEOUT_S) as client:
                    client.get(f"{self.aggregator.monitoring}/healthz").raise_for_status()
                self.times.append(time.monotonic() - began)
            except httpx.HTTPError:
                self.times.append(TIMEOUT_S)


def measured(folder: Path) -> Hostile:
    """All kinds of clients, one after the other."""
    sites = [f"site-{number:02d}" for number in range(SITES)]
    with aggregator_process.running(folder, sites, PARAMETERS) as aggregator:
        aggregator_process.wait_for(aggregator.log, "the aggregator", lambda: aggregator_process.is_ready(aggregator))
        before = mib(aggregator.pid, "VmRSS")
        Path(f"/proc/{aggregator.pid}/clear_refs").write_text("5")  # the peak is counted from here
        prober = Prober(aggregator)
        thread = threading.Thread(target=prober.run)
        thread.start()
        try:
            _attack(aggregator, sites)
        finally:
            prober.ended.set()
            thread.join()
        return Hostile(mib(aggregator.pid, "VmHWM") - before, prober.times)


def _attack(aggregator: Running, sites: list[str]) -> None:
    """Runs the clients and tells what each kind cost."""
    command = [sys.executable, "-m", "tests.bench.hostile_clients", aggregator.url, str(aggregator.folder), *sites]
    began, last = time.monotonic(), ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as clients:
        for line in clients.stdout or ():
            _tell(aggregator, last)
            last = line.strip()
            if time.monotonic() - began > END_S:
                clients.kill()
    _tell(aggregator, last)
    if clients.returncode:
        raise RuntimeError(f"the hostile clients ended with {clients.returncode}")


def _tell(aggregator: Running, kind: str) -> None:
    if kind:
        print(
            f"   after {kind}: peak {mib(aggregator.pid, 'VmHWM'):.0f} MiB, now {mib(aggregator.pid, 'VmRSS'):.0f} MiB"
        )
