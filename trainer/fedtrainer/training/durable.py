"""Files that are there for good before anything is said that follows from them. No torch here.

Used by what a site remembers beyond an order: its state, its accounts, whose keys it knows, and its part in a round of whose updates the hub sees the sum alone.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def write(path: Path, content: bytes) -> None:
    """Makes this the content of a file."""
    with writing(path) as file:
        file.write(content)


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """A file's new content, for the site alone, by rename at the end: a killed process leaves the file of before or this one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    sync(path.parent, path.parent.parent)


def sync(*folders: Path) -> None:
    """Names that were made, changed or removed in these folders are so for good."""
    for folder in folders:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
