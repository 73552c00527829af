"""Files of deleted small objects, kept in a folder of their own to be written over. Used by disk.py alone.

Making a file costs a file system more than writing it: ext4 without a journal looks through all inodes that were freed
within a minute, half a millisecond where thousands of objects come and go with every round. What somebody reads, and what
has another name, is not kept.
"""

import contextlib
import os
import secrets
import stat
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SMALL_BYTES = 4 << 10  # an object of one block
MOST = 4096  # files: 16 MiB


class SpareFiles:
    """Of one store in one process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder  # made when the first file is kept
        self._spare: list[Path] = []
        self._read: Counter[Path] = Counter()
        self._lock = threading.Lock()

    def taken(self) -> tuple[Path, int] | None:
        """A file and its descriptor, to be written from the beginning; it may be longer than what is written."""
        with self._lock:
            path = self._spare.pop() if self._spare else None
        with contextlib.suppress(FileNotFoundError):
            if path is not None:
                return path, os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        return None

    def kept(self, path: Path) -> bool:
        """Takes an object's file away, if it is one to keep. FileNotFoundError when there is none."""
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > SMALL_BYTES or found.st_nlink > 1:
            return False
        with self._lock:
            if path in self._read or len(self._spare) >= MOST:
                return False
            spare = self._folder / secrets.token_hex(16)
            if not self._spare:
                self._folder.mkdir(exist_ok=True)
            path.rename(spare)
            self._spare.append(spare)
        return True

    def left(self) -> list[Path]:
        """What earlier processes have kept."""
        return list(self._folder.iterdir()) if self._folder.is_dir() else []

    @contextmanager
    def reading(self, path: Path) -> Iterator[None]:
        """Inside, the file of that name is not kept."""
        with self._lock:
            self._read[path] += 1
        try:
            yield
        finally:
            with self._lock:
                self._read[path] -= 1
                if not self._read[path]:
                    del self._read[path]
