"""Processes of this machine that a test looks at."""

from pathlib import Path


def running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:  # it may end between the opening of the file and its reading, too
        return False
