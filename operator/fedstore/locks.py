"""Locks on files in the making, by which other processes see that their writer lives. Used by disk.py and spare.py.

flock(2) belongs to the open file: it ends with the descriptor, so with the process, however that ended.
"""

import contextlib
import fcntl
import os
from pathlib import Path


def taken(fd: int) -> bool:
    """Locks an open file, until its descriptor is closed. False, and it is closed, when `remove` was there first."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        if os.fstat(fd).st_nlink:
            return True
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return False


def release(fd: int) -> None:
    """Ends the lock of an open file."""
    fcntl.flock(fd, fcntl.LOCK_UN)


def remove(path: Path) -> None:
    """Removes a file that nobody has locked."""
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
        except BlockingIOError:
            pass
        finally:
            os.close(fd)
