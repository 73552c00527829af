"""Runs the aggregator on a disk that is full while the file named by FULL_WHILE exists: every write in the store fails,
or with FULL_BYTES every one beyond that size.

The error is the operating system's own (a file size limit of zero), so the whole path from write(2) up is real. With
FULL_AFTER the disk fills up by itself: the object of that path is the last that fits, however fast the next one comes.
"""

import os
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

FLAG, LAST = Path(os.environ["FULL_WHILE"]), os.environ.get("FULL_AFTER")
CHANGING = threading.Lock()


def set_limit() -> None:
    full = FLAG.exists()
    soft = int(os.environ.get("FULL_BYTES", "0")) if full else resource.RLIM_INFINITY
    if resource.getrlimit(resource.RLIMIT_FSIZE)[0] != soft:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, resource.RLIM_INFINITY))
        Path(f"{FLAG}.seen").touch() if full else Path(f"{FLAG}.seen").unlink(missing_ok=True)


def follow() -> None:
    while True:
        with CHANGING:
            set_limit()
        time.sleep(0.01)


def fill_after_the_last(event: str, arguments: tuple) -> None:
    """An object's content is written already when it is linked to its name, which needs no room."""
    if event == "os.link" and str(arguments[1]) == LAST:
        with CHANGING:
            FLAG.touch()
            set_limit()


# The log is not on the full disk: another process, without the limit, writes it.
with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as writer:
    os.dup2(writer.stdin.fileno(), 1)
    os.dup2(writer.stdin.fileno(), 2)
    writer.stdin.close()
    writer.returncode = 0  # it ends by itself when this process does
threading.Thread(target=follow, daemon=True).start()
if LAST:
    sys.addaudithook(fill_after_the_last)

from fedaggregator.__main__ import main  # noqa: E402 - the limit is watched first

sys.exit(main())
