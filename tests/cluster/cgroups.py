"""One cgroup per cluster, above the kubelet's own, in every mounted hierarchy (v1) or the one (v2).

Without it two kubelets on one machine take each other's pods for orphans and end them. It also tells
`lifecycle` which processes are a cluster's pods after a crash.
"""

import os
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
# Of processor time, a cluster gets what four processes beside it would: by default it weighs as one, however many pods it has.
_WEIGHT = {"cpu.shares": "4096", "cpu.weight": "400"}  # v1, v2


def _unified() -> bool:
    return (_ROOT / "cgroup.controllers").exists()


def _hierarchies() -> list[Path]:
    """Every mounted hierarchy; on a hybrid machine also the v2 one, where runc adds its groups itself."""
    if _unified():
        return [_ROOT]
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [Path(fields[1]) for fields in mounts if fields[2].startswith("cgroup") and fields[1].startswith(str(_ROOT))]


def create(name: str) -> str:
    """Makes the cgroup everywhere and returns what the kubelet calls cgroupRoot."""
    for hierarchy in _hierarchies():
        group = hierarchy / name
        group.mkdir(exist_ok=True)
        for file in ("cpuset.cpus", "cpuset.mems"):  # v1: a new cpuset is empty and refuses processes
            if hierarchy.name.startswith("cpuset") and not (group / file).read_text().strip():
                (group / file).write_text((hierarchy / file).read_text())
    if _unified():
        wanted = " ".join(f"+{each}" for each in (_ROOT / "cgroup.controllers").read_text().split())
        (_ROOT / "cgroup.subtree_control").write_text(wanted)
        (_ROOT / name / "cgroup.subtree_control").write_text(wanted)
    for hierarchy in _hierarchies():
        for file, weight in _WEIGHT.items():
            if (hierarchy / name / file).exists():
                (hierarchy / name / file).write_text(weight)
    return f"/{name}"


def pids(name: str) -> list[int]:
    found: set[int] = set()
    for hierarchy in _hierarchies():
        for group, _, _ in os.walk(hierarchy / name):  # which passes over groups that end meanwhile
            try:
                found.update(map(int, Path(group, "cgroup.procs").read_text().split()))
            except OSError:  # as this one
                continue
    return sorted(found - {0})


def remove(name: str) -> None:
    for hierarchy in _hierarchies():
        for group, _, _ in os.walk(hierarchy / name, topdown=False):
            try:
                Path(group).rmdir()
            except OSError:  # gone, or the kernel still lets go of it: the next `up` uses it again
                continue
