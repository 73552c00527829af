"""Runs a program's module in this process and ends it when the runner is gone, even after kill -9 of the runner.

`python -m fedlocal.child FD MODULE ARGUMENT…`: FD is the read end of a pipe whose write end only the runner
holds. The product programs know nothing of this.
"""

import os
import runpy
import signal
import sys
import threading


def die_with(descriptor: int) -> None:
    """Kills this process's group once the other end of the pipe is closed."""

    def watch() -> None:
        while os.read(descriptor, 1):
            pass
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="runner-watch", daemon=True).start()


def run(module: str, arguments: list[str]) -> None:
    """As `python -m MODULE ARGUMENT…` would."""
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def main() -> None:
    """Entry point."""
    die_with(int(sys.argv[1]))
    run(sys.argv[2], sys.argv[3:])


if __name__ == "__main__":
    main()
