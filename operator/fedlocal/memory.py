"""Whether this machine's memory will do for all the processes of a run. Called by preflight.py.

Figures are measured with a task of a few parameters, so they are the least that a run takes: models, data and
optimizers come on top. Whoever is refused would have been ended by the kernel in mid-round.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
HUB_MIB = 450  # runner, aggregator and the process that forks trainers
FORKED_MIB = 32  # a forked trainer beside what it shares: its proportional share was 38 MiB of 400 resident
LOADED_MIB = 360  # a process that loads torch itself: a rank of a ring, or any trainer where nothing is forked
LAUNCHER_MIB = 50  # the launcher of a worker's ranks, which never loads torch
UNLIMITED = 1 << 60  # bytes; what control groups say when they set no limit is above


@dataclass(frozen=True)
class Footprint:
    """Processes of one site."""

    workers: int
    ranks: int  # of all workers

    def mib(self, *, forked: bool) -> int:
        """The least memory that they take together."""
        if self.ranks == 1:
            return FORKED_MIB if forked else LOADED_MIB
        return self.ranks * LOADED_MIB + self.workers * LAUNCHER_MIB


def needed_mib(sites: Iterable[Footprint], at_once: int, *, forked: bool) -> int:
    """Of a run in which so many sites have processes at a time."""
    each = sorted((site.mib(forked=forked) for site in sites), reverse=True)
    return HUB_MIB + sum(each[:at_once])


def free_mib(root: Path = Path("/")) -> int | None:
    """What processes can still get: of the machine (swap included) and of the control group; None where nobody tells."""
    found = [free for free in (_of_machine(root), *_of_groups(root)) if free is not None]
    return min(found) // MIB if found else None


def _of_machine(root: Path) -> int | None:
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    return (kib["MemAvailable"] + kib.get("SwapFree", 0)) * 1024 if "MemAvailable" in kib else None


def _of_groups(root: Path) -> Iterable[int | None]:
    """Of every control group that this process is in, by both versions of them."""
    try:
        entries = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for entry in entries:
        _, controllers, path = entry.split(":", 2)
        if controllers in ("", "memory") or "memory" in controllers.split(","):
            top = root / "sys/fs/cgroup" / ("memory" if controllers else "")
            inner = top / path.lstrip("/")
            for group in (inner, *(parent for parent in inner.parents if parent.is_relative_to(top))):
                yield _of_group(group)


def _of_group(group: Path) -> int | None:
    for limit, usage, cache in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            most, used = (group / limit).read_text().strip(), int((group / usage).read_text())
            stat = dict(line.split(maxsplit=1) for line in (group / "memory.stat").read_text().splitlines())
        except OSError:
            continue
        if most.isdigit() and int(most) < UNLIMITED:
            return int(most) - used + int(stat.get(cache, 0))
    return None
