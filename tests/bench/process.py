"""Memory and processor time of a process as the kernel counts them."""

import os
from pathlib import Path


def mib(pid: int, field: str) -> float:
    """VmRSS (resident now) or VmHWM (its peak so far) in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) / 1024
    raise RuntimeError(f"process {pid} has no {field}")


def cpu_s(pid: int) -> float:
    """Seconds of processor time, user and system, so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
