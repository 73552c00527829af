"""What this machine, or what of it a container may use, has to offer: as Kubernetes quantities. Used by agent/heartbeat.py."""

import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
MEMINFO = Path("/proc/meminfo")


def cpus(cgroup: Path = CGROUP) -> str:
    """Processors: those that the process may run on, or the container's limit where that is less."""
    allowed = float(len(os.sched_getaffinity(0)))
    quota, _, period = _text(cgroup / "cpu.max").partition(" ")
    if quota.isdigit() and period.isdigit():
        allowed = min(allowed, int(quota) / int(period))
    return f"{allowed:g}" if allowed == int(allowed) else f"{int(allowed * 1000)}m"


def memory(cgroup: Path = CGROUP, meminfo: Path = MEMINFO) -> str | None:
    """Memory in MiB: the machine's, or the container's limit where that is less; None where nothing says."""
    found = [int(line.split()[1]) << 10 for line in _text(meminfo).splitlines() if line.startswith("MemTotal:")]
    if (limit := _text(cgroup / "memory.max")).isdigit():
        found.append(int(limit))
    return f"{min(found) >> 20}Mi" if found else None


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
