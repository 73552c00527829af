"""From a round's commit to the status that shows it: the aggregator's half of status_lag_p95_s."""

import json
import threading
import time
from pathlib import Path

from tests.bench import embedded, records

SITES, ROUNDS, LOOK_S = 4, 10, 0.005


def embedded_lags(folder: Path) -> list[float]:
    """Lags of all rounds of a job in the embedded runner, whose status is a file."""
    seen: dict[int, float] = {}
    over = threading.Event()
    watcher = threading.Thread(target=_follow, args=(folder, seen, over))
    watcher.start()
    try:
        return lags(embedded.run(folder, embedded.manifests("tiny:task", SITES, ROUNDS)), seen)
    finally:
        over.set()
        watcher.join()


def _follow(folder: Path, seen: dict[int, float], over: threading.Event) -> None:
    """Looks at the status file of the only job below the folder, every 5 ms."""
    file: Path | None = None
    while not over.wait(LOOK_S):
        file = file or next(folder.rglob("aggregator-status.json"), None)
        if file and file.exists():
            seen.setdefault(json.loads(file.read_text()).get("round", {}).get("committed", 0), time.time())


def lags(store: Path, seen: dict[int, float]) -> list[float]:
    """A round whose status was overtaken by a later one became visible with that one."""
    committed = records.committed_at(store)
    return [min(at for n, at in seen.items() if n >= number) - when for number, when in committed.items() if number]
