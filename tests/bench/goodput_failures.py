"""Training seconds that are in the model, of all that sites have trained, while one site of eight is killed every other round.

`fedloom run`, 8 sites with a process of their own, 10 rounds of 3 s of training, quorum 100%. In every second round another site is killed
(SIGKILL) in the middle of its training; its pod is started again and trains that round anew. Useful seconds are those of
commits; all seconds are what the trainings themselves have noted, killed ones included. Printed beside it: the share that the
aggregator knows of (status.goodput), and the share of the time from the first plan to the last commit in which each site
trained for a commit.
"""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

from tests.bench import embedded, records
from tests.bench.bench import Bench
from tests.bench.rows import Row

SITES, ROUNDS, SECONDS = 8, 10, 3.0
TIMEOUT_S = 300


def measure(bench: Bench) -> Row:
    """The row."""
    folder = bench.folder("goodput")
    documents = embedded.manifests("steady:task", SITES, ROUNDS, seconds=str(SECONDS))
    command = [*embedded.prepared(folder, documents), "--trainers", "own"]
    with (folder / "output").open("w") as output:
        running = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            killed = _killing(folder / "trained", running)
        finally:
            running.kill()
            running.wait()
    if running.returncode or killed != ROUNDS // 2:
        words = (folder / "output").read_text()[-3000:]
        raise RuntimeError(f"{killed} sites were killed, fedloom run ended with {running.returncode}:\n{words}")
    noted = [float(note.read_text() or 0) for note in (folder / "trained").iterdir()]
    commits = records.commits(folder / "state")
    useful = sum(part.training_s for commit in commits for part in commit.participants)
    lost = sum(noted) - useful
    known = json.loads(next((folder / "state").glob("*/job.json")).read_text())["status"].get("goodput")
    wall_s = commits[-1].committed_at - commits[1].planned_at
    print(
        f"   {killed} trainings killed, {lost:.1f} s of {sum(noted):.1f} s lost; the aggregator's own figure {known};"
    )
    print(f"   of the time of all rounds {useful / (SITES * wall_s):.3f}")
    return Row("goodput_failures", useful / sum(noted), "")


def _killing(trained: Path, running: subprocess.Popen[bytes]) -> int:
    """Until the run ends: kills one site in the middle of its training in every second round; how many."""
    killed: set[int] = set()
    end = time.monotonic() + TIMEOUT_S
    while running.poll() is None and time.monotonic() < end:
        for round_ in range(1, ROUNDS + 1, 2):
            site = f"site-{round_ // 2 % SITES}"
            for note in trained.glob(f"{site}-{round_}-*") if round_ not in killed else ():
                if float(note.read_text() or 0) >= SECONDS / 2:
                    os.kill(int(note.name.rpartition("-")[2]), signal.SIGKILL)
                    killed.add(round_)
        time.sleep(0.05)
    return len(killed)
