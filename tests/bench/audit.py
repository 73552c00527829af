"""Writes that the operator made, from the API server's audit log. Used by the cases that need rest or count it.

Everything counts that is not the bench's own, Kubernetes' own, or a Lease.
"""

import json
import time
from collections import Counter
from pathlib import Path

from tests.bench.kube import AGENT

QUIET_S, PATIENCE_S = 10.0, 90.0


def quiet(log: Path) -> None:
    """Waits for what the jobs' own changes still cause; at most PATIENCE_S."""
    until, since, start = time.monotonic() + PATIENCE_S, time.monotonic(), log.stat().st_size
    while time.monotonic() - since < QUIET_S and time.monotonic() < until:
        time.sleep(0.5)
        size = log.stat().st_size
        if writes(log, start):
            since = time.monotonic()
        start = size


def writes(log: Path, start: int) -> Counter[str]:
    """What was written since the log had `start` bytes: verb, resource and agent."""
    with log.open("rb") as file:
        file.seek(max(0, start - 1))
        if start:
            file.readline()  # from the next whole line on
        found = (json.loads(line) for line in file if line.endswith(b"\n"))
        return Counter(_shown(entry) for entry in found if _counts(entry))


def _counts(entry: dict) -> bool:
    ours = entry.get("userAgent", "").startswith(AGENT) or entry["user"]["username"].startswith("system:")
    return not ours and entry.get("objectRef", {}).get("resource") != "leases"


def _shown(entry: dict) -> str:
    what = entry.get("objectRef", {})
    names = (entry["verb"], what.get("resource", "?"), what.get("subresource", ""), entry.get("userAgent", "")[:24])
    return " ".join(filter(None, names))
