"""`fedloom run` with many sites of one rank: time per round, and memory of everything that it starts.

Memory is the proportional set size (Pss) of the runner and all processes below it, together, at its highest; what
processes share counts once.
"""

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.bench import embedded, process, records

EVERY_S = 1.0
TIMEOUT_S = 1800


@dataclass(frozen=True)
class ManySites:
    """What a run took."""

    round_s: float  # from commit to commit, median after the first round
    mib: float


def measured(folder: Path, entrypoint: str, sites: int, rounds: int, **args: int) -> ManySites:
    """Runs a job in which every site takes part in every round."""
    state = folder / "state"
    command = embedded.prepared(folder, embedded.manifests(entrypoint, sites, rounds, **args))
    with (folder / "output").open("w") as output:
        running = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            peak, end = 0.0, time.monotonic() + TIMEOUT_S
            while running.poll() is None and time.monotonic() < end:
                peak = max(peak, process.tree_pss_mib(running.pid))
                time.sleep(EVERY_S)
        finally:
            running.kill()
            running.wait()
    if running.returncode:
        words = (folder / "output").read_text()[-3000:]
        raise RuntimeError(f"fedloom run with {sites} sites ended with {running.returncode}:\n{words}")
    walls = [each.wall_s for each in records.rounds(state)]
    print("   rounds:", " ".join(f"{value:.2f}" for value in walls), f"peak {peak:.0f} MiB")
    return ManySites(median(walls), peak)
