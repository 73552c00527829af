"""Whether this machine's memory will do for all the processes of a run. Called by preflight.py.

Figures are measured with a task of a few parameters, so they are the least that a run takes: models, data and
optimizers come on top. Whoever is refused would have been ended by the kernel in mid-round.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Literal

MIB = 1 << 20
HUB_MIB = 450  # runner, aggregator and the process that forks trainers
FORKED_MIB = 32  # a forked trainer beside what it shares: its proportional share was 38 MiB of 400 resident
SHARED_MIB = 70  # a shared trainer beside what it shares with the process that forked it
WAITING_MIB = 0.6  # a site that waits for a shared trainer: its connection at both ends, its objects in the runner
LOADED_MIB = 360  # a process that loads torch itself: a rank of a ring, or any trainer where nothing is forked
LAUNCHER_MIB = 50  # the launcher of a worker's ranks, which never loads torch
SPARE_TRAINERS = 2  # above the cores: while some wait for the aggregator and its disk others compute
OWN_AT_MOST = 32  # sites at a time that have processes of their own without being asked
UNLIMITED = 1 << 60  # bytes; what control groups say when they set no limit is above


@dataclass(frozen=True)
class Footprint:
    """Processes of one site."""

    workers: int
    ranks: int  # of all workers
    shares: bool = False  # no process of its own, but the use of shared trainers

    def mib(self, *, forked: bool) -> float:
        """The least memory that they take together."""
        if self.shares:
            return WAITING_MIB
        if self.ranks == 1:
            return FORKED_MIB if forked else LOADED_MIB
        return self.ranks * LOADED_MIB + self.workers * LAUNCHER_MIB


def needed_mib(sites: Iterable[Footprint], at_once: int, *, forked: bool, shared_trainers: int = 0) -> int:
    """Of a run in which so many sites have processes at a time."""
    each = sorted((site.mib(forked=forked) for site in sites), reverse=True)
    trainers = shared_trainers * (SHARED_MIB if forked else LOADED_MIB)
    return HUB_MIB + trainers + ceil(sum(each[:at_once]))


@dataclass(frozen=True)
class Plan:
    """How a run's sites are served, and what that takes."""

    trainers: int  # shared ones; 0: each site has processes of its own
    needed_mib: int
    free_mib: int | None
    sharing: int = 0  # sites at a time that share them


def plan(
    sites: Sequence[Footprint], at_once: int, free: int | None, wish: Literal["auto", "own", "shared"], *, forked: bool
) -> Plan:
    """Sites share trainers where that is wished, or, where nothing is, if they are many or would not fit otherwise.

    `sites` say whether they can share.
    """
    apart = [replace(site, shares=False) for site in sites]
    own = needed_mib(apart, at_once, forked=forked)
    many = min(at_once, sum(site.shares for site in sites))
    if not many or wish == "own" or (wish == "auto" and many <= OWN_AT_MOST and (free is None or own <= free)):
        return Plan(0, own, free)
    cores = os.cpu_count() or 1
    ample = _shared(sites, at_once, free, cores + SPARE_TRAINERS, forked=forked)
    return ample if free is None or ample.needed_mib <= free else _shared(sites, at_once, free, cores, forked=forked)


def _shared(sites: Sequence[Footprint], at_once: int, free: int | None, most: int, *, forked: bool) -> Plan:
    sharing = min(at_once, sum(site.shares for site in sites))
    trainers = min(sharing, most)
    return Plan(trainers, needed_mib(sites, at_once, forked=forked, shared_trainers=trainers), free, sharing)


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
