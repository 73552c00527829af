"""Long-running processes of a cluster: started detached, recorded, ended by what was recorded.

A record holds the pid and the kernel's start time of it, so that a pid reused by somebody else is
never touched. Called by `controlplane`, `node` and `lifecycle`. What the processes do is not here.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path

from tests.cluster.errors import ClusterError
from tests.cluster.shell import need

Command = list[str | Path]
_LISTEN = "0A"  # the state's number in /proc/net/tcp
_DYING_S = 120  # of a killed process that still waits for a slow disk; ends a hang


def _stat(pid: int) -> tuple[str, str] | None:
    """(state, start time in ticks since boot), None when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return fields[0], fields[19]


def start(
    name: str,
    command: Command,
    *,
    pids: Path,
    log: Path,
    netns: str | None = None,
    env: Mapping[str, str] | None = None,
) -> None:
    # nsenter keeps the mount namespace; `ip netns exec` would hide the cgroup mounts from the kubelet.
    prefix = [need("nsenter"), f"--net=/run/netns/{netns}"] if netns else []
    words = [*prefix, need(str(command[0])), *map(str, command[1:])]
    pids.mkdir(parents=True, exist_ok=True)
    log.mkdir(parents=True, exist_ok=True)
    with (log / f"{name}.log").open("ab") as sink:
        child = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
            env={**os.environ, **(env or {})},
        )
    stat = _stat(child.pid)
    (pids / name).write_text(f"{child.pid} {stat[1] if stat else 0}")
    child.returncode = 0  # it is ours no longer: no ResourceWarning when the handle goes


def _recorded(pids: Path, name: str) -> int | None:
    """The pid of a recorded process that still runs. Half a record, of a start that was killed or had no disk, is none."""
    try:
        pid, started = map(int, (pids / name).read_text().split())
    except (OSError, ValueError):
        return None
    stat = _stat(pid)
    return pid if stat and stat[0] != "Z" and int(stat[1]) == started else None


def alive(pids: Path, name: str) -> bool:
    return _recorded(pids, name) is not None


def listens(pids: Path, name: str, port: int) -> bool:
    """Whether it is this process that holds a TCP port over IPv4, in whichever network namespace it is."""
    pid = _recorded(pids, name)
    try:
        table = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
        held = {link.readlink().name for link in Path(f"/proc/{pid}/fd").iterdir()}
    except OSError:  # it ended, or closed something meanwhile
        return False
    return any(
        row[3] == _LISTEN and int(row[1].rpartition(":")[2], 16) == port and f"socket:[{row[9]}]" in held
        for row in table
    )


def names(pids: Path) -> list[str]:
    return sorted(entry.name for entry in pids.iterdir()) if pids.is_dir() else []


def stop(pids: Path, which: Iterable[str], *, grace_s: float) -> None:
    """SIGTERM to all, SIGKILL to those left after grace_s, and forgets them."""
    wanted = list(which)
    running = {name: pid for name in wanted if (pid := _recorded(pids, name))}
    for pid in running.values():
        _signal(pid, signal.SIGTERM)
    until = time.monotonic() + grace_s
    while time.monotonic() < until and any(alive(pids, name) for name in running):
        time.sleep(0.02)
    for name, pid in running.items():
        if alive(pids, name):
            _signal(pid, signal.SIGKILL)
    until = time.monotonic() + _DYING_S
    while any(alive(pids, name) for name in running):
        if time.monotonic() > until:
            msg = f"processes do not end: {running}"
            raise ClusterError(msg)
        time.sleep(0.02)
    for pid in running.values():
        _reap(pid)
    for name in wanted:
        (pids / name).unlink(missing_ok=True)


@contextlib.contextmanager
def paused(pids: Path, name: str) -> Iterator[None]:
    """The process, if it runs, does nothing inside."""
    pid = _recorded(pids, name)
    if pid is None:
        yield
        return
    _signal(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        _signal(pid, signal.SIGCONT)


def end_all(found: Collection[int]) -> None:
    """SIGKILL to pids that the caller identified by cgroup or network namespace."""
    for pid in found:
        _signal(pid, signal.SIGKILL)
    until = time.monotonic() + _DYING_S
    for pid in found:
        while (stat := _stat(pid)) and stat[0] != "Z":
            if time.monotonic() > until:
                raise ClusterError(f"process {pid} does not end")
            time.sleep(0.01)


def in_netns(netns: str) -> list[int]:
    """Every process whose network namespace is this one: what a crash left behind."""
    try:
        inode = Path(f"/run/netns/{netns}").stat().st_ino
    except OSError:
        return []
    return [pid for pid in _all_pids() if _inode(pid) == inode]


def _all_pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _inode(pid: int) -> int | None:
    try:
        return Path(f"/proc/{pid}/ns/net").stat().st_ino
    except OSError:
        return None


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def wait_until(what: str, ready: Callable[[], bool], *, timeout_s: float, log: Path, every_s: float = 0.1) -> None:
    """Polls `ready`; on timeout names the log that tells why."""
    until = time.monotonic() + timeout_s
    while not ready():
        if time.monotonic() > until:
            msg = f"{what} was not ready after {timeout_s:.0f} s; read {log}"
            raise ClusterError(msg)
        time.sleep(every_s)
