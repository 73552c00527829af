"""Runs a program's module in this process and ends it when the runner is gone, even after kill -9 of the runner.

`python -m fedlocal.child FD PATHS MODULE ARGUMENT…`: FD is the read end of a pipe whose write end only the runner
holds; PATHS, separated as in PYTHONPATH, are searched for modules after Python's own. The product programs know
nothing of this. It is also run as a file, by `python -I`, so it needs the standard library alone.
"""

import os
import runpy
import select
import signal
import sys
import threading
from collections.abc import Mapping


def die_with(*descriptors: int) -> None:
    """Kills this process's group once the other end of one of the pipes, to which nobody writes, is closed."""

    def watch() -> None:
        waiting = select.poll()
        for descriptor in descriptors:
            waiting.register(descriptor, select.POLLIN)
        if all(event & select.POLLNVAL for _, event in waiting.poll()):
            return  # the program has closed what it did not open
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="runner-watch", daemon=True).start()


def take_over(log: str, folder: str, environment: Mapping[str, str]) -> None:
    """Makes output, working directory and environment of this process those of another program."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for descriptor in (1, 2):
        os.dup2(output, descriptor)
    os.close(output)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)


def run(module: str, arguments: list[str]) -> None:
    """As `python -m MODULE ARGUMENT…` would."""
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def main() -> None:
    """Entry point."""
    _, descriptor, paths, module, *arguments = sys.argv
    die_with(int(descriptor))
    sys.path += [path for path in paths.split(os.pathsep) if path and path not in sys.path]
    run(module, arguments)


if __name__ == "__main__":
    main()
