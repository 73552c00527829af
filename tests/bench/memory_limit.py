"""A memory limit of one process, by a control group of its own, as a container has one. Used by large_updates.py; needs root."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


@contextlib.contextmanager
def of(pid: int, limit_bytes: int) -> Iterator[None]:
    """Holds from now on, for what the process gets from now on; OSError where this machine lets nobody make groups."""
    folder, limit = _place()
    group = folder / f"fedloom-bench-{pid}"
    group.mkdir()
    try:
        (group / limit).write_text(str(limit_bytes))
        (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        with contextlib.suppress(OSError):  # it has ended
            (folder / "cgroup.procs").write_text(str(pid))
        group.rmdir()


def _place() -> tuple[Path, str]:
    """Where a group can be made, and its file for the limit: of version 1 of control groups, or 2."""
    lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    for _, controllers, path in lines:
        if "memory" in controllers.split(","):
            return _ROOT / "memory" / os.path.relpath(path, "/"), "memory.limit_in_bytes"
    path = next(path for _, controllers, path in lines if not controllers)
    return _ROOT / os.path.relpath(path, "/"), "memory.max"
