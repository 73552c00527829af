"""Flower's simulation engine (flwr[simulation], Ray) in an environment of its own under the cache folder, made once by pip.

It is no dependency of anything: neither the wheel's nor the development environment's.
"""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

VERSION = "1.42.0"
APP = Path(__file__).parent / "peers" / "flower_app.py"
TIMEOUT_S = 900
_QUIET = {"FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0"}


def round_s(sites: int, rounds: int) -> list[float]:
    """Seconds of each round."""
    command = [str(_python()), str(APP), str(sites), str(rounds)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S, env=os.environ | _QUIET
    )
    if done.returncode:
        raise RuntimeError(f"Flower's simulation ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return [float(seconds) for seconds in json.loads(done.stdout.splitlines()[-1])]


def _python() -> Path:
    cache = Path(os.environ.get("FEDLOOM_CACHE", Path.home() / ".cache" / "fedloom"))
    home = cache / "flower" / f"{VERSION}-py{sys.version_info.major}{sys.version_info.minor}"
    python = home / "bin" / "python"
    if not (home / "complete").exists():
        print(f"   installing flwr[simulation] {VERSION} into {home} (once)", flush=True)
        venv.create(home, with_pip=True, clear=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, f"flwr[simulation]=={VERSION}"], check=True)
        (home / "complete").touch()
    return python
