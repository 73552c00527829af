"""SIGTERM for programs of one step: it ends them, also where they are the first process of a container.

Of signals that it has no handler for, the kernel keeps those from such a process that would end it (pid_namespaces(7)): Kubernetes
would wait for all of the pod's grace period. Programs that serve, and the trainer, have handlers of their own.
"""

import signal
import sys
from types import FrameType
from typing import NoReturn


def ends() -> None:
    """From now on SIGTERM raises SystemExit in the main thread, with the code 143 that a shell would show."""
    signal.signal(signal.SIGTERM, _end)


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)
