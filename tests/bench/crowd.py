"""A thousand scripted sites against one aggregator: what a round costs as sites grow. Shared by the rows about it.

Real aggregator process, HTTPS on loopback, a model of 9 numbers. The sites (crowd_sites.py) run in one process of their
own, each with its own connection and token, and do all that a trainer does in a round but the training.
"""

import socket
from dataclasses import dataclass
from multiprocessing.context import SpawnProcess
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

from fedapi.wire.layout import Layout
from fedapi.wire.store import Head
from tests.bench import aggregator_process, crowd_sites, group, records
from tests.bench.aggregator_process import JOB, NAMESPACE, UID, Running
from tests.bench.process import cpu_s, mib

ROUNDS, PARAMETERS = 4, 9
TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Crowd:
    """What one size cost."""

    round_s: float  # median from commit to commit, after the first round
    cpu_s: float  # the aggregator's processor time per round, after the first
    rss_mib: float  # its peak


def measured(folder: Path, count: int) -> Crowd:
    """Runs a job of so many sites to its last round."""
    sites = [f"site-{number:04d}" for number in range(count)]
    with aggregator_process.running(folder, sites, PARAMETERS, ROUNDS) as aggregator:
        _listening(aggregator)
        playing = group.SPAWN.Process(target=crowd_sites.play, args=(folder, aggregator.url, sites), daemon=True)
        playing.start()
        try:
            cpu = _cpu_per_round(aggregator, playing)
        finally:
            playing.kill()
            playing.join()
        peak = mib(aggregator.pid, "VmHWM")
    walls = [each.wall_s for each in records.rounds(folder / "store")]
    shown = " ".join(f"{value:.2f}" for value in walls)
    print(f"   {count} sites: rounds {shown} s, {cpu:.2f} s of processor time each, {peak:.0f} MiB")
    return Crowd(median(walls), cpu, peak)


def _listening(aggregator: Running) -> None:
    def there() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", urlsplit(aggregator.url).port or 0)) == 0

    aggregator_process.wait_for(aggregator.log, "the aggregator", there)


def _cpu_per_round(aggregator: Running, playing: SpawnProcess) -> float:
    _committed(aggregator, 1, playing)
    before = cpu_s(aggregator.pid)
    _committed(aggregator, ROUNDS, playing)
    return (cpu_s(aggregator.pid) - before) / (ROUNDS - 1)


def _committed(aggregator: Running, round_: int, playing: SpawnProcess) -> None:
    head = aggregator.folder / "store" / Layout(NAMESPACE, JOB, UID).head

    def there() -> bool:
        if playing.exitcode:
            raise RuntimeError(f"the sites ended with {playing.exitcode} before round {round_} was committed")
        return head.exists() and Head.model_validate_json(head.read_bytes()).round >= round_

    aggregator_process.wait_for(aggregator.log, f"the commit of round {round_}", there, TIMEOUT_S)
