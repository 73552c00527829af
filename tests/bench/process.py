"""Memory and processor time of a process as the kernel counts them."""

import os
from contextlib import suppress
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


def tree_pss_mib(pid: int) -> float:
    """Proportional set size (Pss) of a process and all below it, in MiB."""
    return sum(map(_pss_mib, _tree(pid)))


def _tree(pid: int) -> set[int]:
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found, new = set[int](), {pid}
    while new:
        found |= new
        new = {child for child, parent in parents.items() if parent in new} - found
    return found


def _pss_mib(pid: int) -> float:
    """0 for one that has just ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0
