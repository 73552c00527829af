"""Runs the aggregator on a disk that is full while the file named by FULL_WHILE exists: every write in the store fails,
or with FULL_BYTES every one beyond that size.

The error is the operating system's own (a file size limit of zero), so the whole path from write(2) up is real.
"""

import os
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path


def follow(flag: Path) -> None:
    while True:
        full = flag.exists()
        soft = int(os.environ.get("FULL_BYTES", "0")) if full else resource.RLIM_INFINITY
        if resource.getrlimit(resource.RLIMIT_FSIZE)[0] != soft:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, resource.RLIM_INFINITY))
            Path(f"{flag}.seen").touch() if full else Path(f"{flag}.seen").unlink(missing_ok=True)
        time.sleep(0.01)


# The log is not on the full disk: another process, without the limit, writes it.
with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as writer:
    os.dup2(writer.stdin.fileno(), 1)
    os.dup2(writer.stdin.fileno(), 2)
    writer.stdin.close()
    writer.returncode = 0  # it ends by itself when this process does
threading.Thread(target=follow, args=(Path(os.environ["FULL_WHILE"]),), daemon=True).start()

from fedaggregator.__main__ import main  # noqa: E402 - the limit is watched first

sys.exit(main())
