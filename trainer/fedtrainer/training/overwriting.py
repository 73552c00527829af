"""Small files that are written over instead of made anew: a site that trains for moments makes several with every order.

Used by tensors.py, agent/checkpoint_store.py and agent/bulk.py. Making and removing a file costs a file system more than
writing it, and ext4 writes one that was truncated to disk when it is closed. No torch here.
"""

import os
from io import FileIO
from pathlib import Path

SMALL_BYTES = 64 << 10  # files up to this size are kept for the next ones


def opened(path: Path) -> FileIO:
    """A file to be written from its beginning, over what is there. Who has written it truncates it where he has ended."""
    return FileIO(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666), "wb")


def write(path: Path, content: bytes) -> None:
    """Makes this the content of a file."""
    with opened(path) as file:
        put(file, content)
        file.truncate()


def put(file: FileIO, content: bytes | memoryview) -> None:
    """Writes all of it, or raises OSError: a disk that is nearly full takes a part, and says so at the next write."""
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]
