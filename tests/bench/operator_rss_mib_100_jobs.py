"""Resident memory (VmRSS) of the operator with 100 jobs of 4 sites in training, their pods included.

The peer is a Python process that has only imported what the operator is built on: kopf, its HTTP clients, pydantic.
"""

import subprocess
import sys

from tests.bench import actors
from tests.bench.bench import Bench
from tests.bench.process import mib
from tests.bench.rows import Row

IMPORTS = "import kopf, urllib3, pydantic_settings, prometheus_client, cryptography.x509, kubernetes.client.rest"


def measure(bench: Bench) -> Row:
    """The row."""
    fleet = bench.fleet
    actors.run(fleet, sorted(fleet.acknowledged))
    value = mib(fleet.operator_pid, "VmRSS")
    print(f"   peak so far {mib(fleet.operator_pid, 'VmHWM'):.0f} MiB")
    return Row("operator_rss_mib_100_jobs", value, "MiB", _libraries_alone())


def _libraries_alone() -> float:
    command = [sys.executable, "-c", f"{IMPORTS}; print(flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        value = mib(process.pid, "VmRSS")
        process.kill()
    return value
