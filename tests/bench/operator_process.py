"""The operator as a process on this machine, against any API server. Used by fleet.py."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.ports import free_ports

RESYNC_S = 20
START_S = 60.0


@contextmanager
def running(kubeconfig: Path, folder: Path, resync_s: int = RESYNC_S) -> Iterator[int]:
    """Starts it, waits until it is ready, yields its pid, ends it. Its log is <folder>/operator.log."""
    probe, metrics = free_ports(2)
    settings = {
        "NAMESPACE": "fedloom-system",
        "POD_NAME": "bench",
        "AGGREGATOR_IMAGE": "localhost/fedloom-aggregator:dev",
        "RESYNC_S": str(resync_s),
        "PROBE_PORT": str(probe),
        "METRICS_PORT": str(metrics),
    }
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    environment |= {f"FEDLOOM_OPERATOR_{key}": value for key, value in settings.items()}
    log = folder / "operator.log"
    with log.open("wb") as sink:
        process = subprocess.Popen([sys.executable, "-m", "fedoperator"], env=environment, stdout=sink, stderr=sink)
    try:
        _wait_ready(process, f"http://127.0.0.1:{probe}/readyz", log)
        yield process.pid
    except Exception:
        print(f"the operator's last lines:\n{log.read_text()[-3000:]}")
        raise
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    opener, until = urllib.request.build_opener(urllib.request.ProxyHandler({})), time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        try:
            with opener.open(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"the operator is not ready:\n{log.read_text()[-3000:]}")
