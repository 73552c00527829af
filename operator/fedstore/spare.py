"""Files of deleted small objects, kept in a folder of their own to be written over. Used by disk.py alone.

Making a file costs a file system more than writing it: ext4 without a journal looks through all inodes that were freed
within a minute, half a millisecond where thousands of objects come and go with every round. What somebody reads, and what
has another name, is not kept. A file is written over only when the folder that it left was synced since, as it is for
every object that comes into it: else its old name could be back after a power cut, with the bytes of another object.
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

from fedstore import locks

SMALL_BYTES = 4 << 10  # an object of one block
MOST = 4096  # files: 16 MiB


class SpareFiles:
    """Of one store in one process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder  # made when the first file is kept
        self._spare: list[Path] = []
        self._gone: dict[Path, list[Path]] = {}  # kept, by the folder that they left, which was not synced since
        self._count = 0  # of both
        self._read: Counter[Path] = Counter()
        self._lock = threading.Lock()

    def taken(self) -> tuple[Path, int] | None:
        """A file and its descriptor, locked, to be written from the beginning; it may be longer than what is written."""
        with self._lock:
            path = self._spare.pop() if self._spare else None
            self._count -= path is not None
        with contextlib.suppress(FileNotFoundError):
            if path is not None and locks.taken(fd := os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)):
                return path, fd
        return None

    def kept(self, path: Path) -> bool:
        """Takes an object's file away, if it is one to keep. FileNotFoundError when there is none."""
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > SMALL_BYTES or found.st_nlink > 1:
            return False
        spare = self._folder / secrets.token_hex(16)
        with self._lock:
            if path in self._read or self._count >= MOST:
                return False
            try:
                if not self._count:
                    self._folder.mkdir(exist_ok=True)
                path.rename(spare)
            except OSError:  # a full volume has no room for its name either
                return False
            self._gone.setdefault(path.parent, []).append(spare)
            self._count += 1
        return True

    @contextmanager
    def synced(self, folder: Path) -> Iterator[None]:
        """Inside, the folder is synced: what left it before may be written over."""
        with self._lock:
            gone = self._gone.pop(folder, [])
        try:
            yield
        except BaseException:
            with self._lock:
                self._gone[folder] = [*gone, *self._gone.get(folder, ())]
            raise
        with self._lock:
            self._spare += gone

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
