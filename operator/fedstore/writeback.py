"""Tells the kernel to begin writing a part of a file to its disk, so that a later sync finds little left to wait for.

Used by disk.py for large objects. It is a hint: nothing is durable before the sync, and where it cannot be given, the
sync waits for all of the file.
"""

import ctypes

_WRITE = 2  # SYNC_FILE_RANGE_WRITE of <fcntl.h>: begins, and does not wait
_sync_file_range = getattr(ctypes.CDLL(None, use_errno=False), "sync_file_range", None)
if _sync_file_range is not None:
    _sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)


def begin(fd: int, offset: int, length: int) -> None:
    """Bytes that were written; other threads run meanwhile. What goes wrong on the disk is told by the sync."""
    if _sync_file_range is not None:
        _sync_file_range(fd, offset, length, _WRITE)
