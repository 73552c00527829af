"""Flower's simulation engine (flwr[simulation], Ray) in an environment of its own (environments.py)."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.bench import environments

VERSION = "1.42.0"
APP, MEDIAN, MASKS = (
    Path(__file__).parent / "peers" / name for name in ("flower_app.py", "flower_median.py", "flower_masks.py")
)
TIMEOUT_S = 900
_QUIET = {"FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0"}


def round_s(sites: int, rounds: int) -> list[float]:
    """Seconds of each round."""
    return [float(seconds) for seconds in _printed(APP, sites, rounds)]


def median(sites: int, items: int, repeats: int) -> tuple[list[float], list[float]]:
    """Seconds of each of its FedMedian's aggregations of updates that numpy's generator draws by their number, and its first values."""
    found = _printed(MEDIAN, sites, items, repeats)
    return found["seconds"], found["sample"]


def masks(count: int, items: int, repeats: int) -> list[float]:
    """Seconds of each turn in which its SecAgg+ adds so many masks to an update."""
    return [float(seconds) for seconds in _printed(MASKS, count, items, repeats)["seconds"]]


def _printed(script: Path, *numbers: int) -> Any:
    """What a script of peers/ prints as its last line."""
    command = [str(python()), str(script), *map(str, numbers)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S, env=quiet())
    if done.returncode:
        raise RuntimeError(f"Flower's {script.name} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def quiet() -> dict[str, str]:
    """An environment in which it tells nobody that it runs."""
    return os.environ | _QUIET


def python() -> Path:
    """The interpreter that has it."""
    return environments.python("flower", VERSION, f"flwr[simulation]=={VERSION}")
